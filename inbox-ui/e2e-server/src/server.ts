/** The real server, in a process of its own, with data of its own in a folder that goes away with it. */

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { languageModel, soundsOf } from "./sphinx.js";

/** Longer than a start takes on a machine that is busy with something else. */
const START_SECONDS = 60;
const STOP_SECONDS = 20;

const BINARY = process.env["FRONTDESK_BIN"] ?? fileURLToPath(new URL("../../../target/debug/frontdesk", import.meta.url));

const run = promisify(execFile);

export interface Setup {
  /** What the agents that PocketSphinx hears for can hear. */
  sentences: readonly string[];
  /** A transcription server with OpenAI's API, for agents with `stt = "openai:…"`. */
  ears?: string;
  /** More of `[voice]`. */
  voice?: string;
  /** `[[agent]]` sections. */
  agents: string;
}

export class FrontdeskServer {
  private constructor(
    private readonly process: ChildProcess,
    private readonly folder: string,
    private readonly config: string,
    /** Such as `http://127.0.0.1:4711`. */
    readonly origin: string,
    /** What lets the first owner in. */
    readonly signInLink: string,
  ) {}

  static async start(setup: Setup): Promise<FrontdeskServer> {
    const folder = await mkdtemp(join(tmpdir(), "frontdesk-"));
    const [config, model, log] = [join(folder, "frontdesk.toml"), join(folder, "words.lm"), join(folder, "log")];
    const dictionary = join(folder, "words.dict");
    await writeFile(model, languageModel(setup.sentences));
    await writeFile(dictionary, await soundsOf(setup.sentences));
    await writeFile(
      config,
      `[server]\nlog_level = ${JSON.stringify(process.env["FRONTDESK_LOG"] ?? "info")}\n[http]\nlisten = ["127.0.0.1:0"]\n[smtp]\nlisten = ["127.0.0.1:0"]\n` +
        `[voice]\nstt = "pocketsphinx:en-us"\nstt_fallback = "none"\ntts = "flite:kal16"\nmax_calls_per_user = 4\n${setup.voice ?? ""}` +
        `[voice.pocketsphinx]\nlanguage_model = ${JSON.stringify(model)}\ndictionary = ${JSON.stringify(dictionary)}\nsessions = 4\n` +
        (setup.ears ? `[voice.openai]\nbase_url = ${JSON.stringify(setup.ears)}\n` : "") +
        setup.agents,
    );
    const child = spawn(BINARY, ["serve", "--config", config], {
      cwd: folder,
      env: { ...process.env, FRONTDESK_DATA: join(folder, "data") },
      stdio: ["ignore", "pipe", "pipe"],
    });
    child.stderr.pipe(createWriteStream(log));
    try {
      const said = await greeting(child);
      return new FrontdeskServer(child, folder, config, new URL(said.health).origin, said.signIn);
    } catch (error) {
      const kept = await readFile(log, "utf8").catch(() => "");
      await end(child);
      await rm(folder, { recursive: true });
      throw new Error(`${BINARY} did not start. Build it with: cargo build --bin frontdesk\n${kept}`, { cause: error });
    }
  }

  /** What a command of the program prints, against this server. */
  async command(...args: string[]): Promise<string> {
    const { stdout } = await run(BINARY, [...args, "--config", this.config], { env: { ...process.env, FRONTDESK_DATA: join(this.folder, "data") } });
    return stdout;
  }

  /** A new sign-in link for a user. */
  async link(name: string): Promise<string> {
    const printed = await this.command("users", "link", name);
    const link = /https?:\/\/\S+\/signin#\S+/.exec(printed)?.[0];
    if (!link) throw new Error(`no link in: ${printed}`);
    return link;
  }

  /** What it has logged so far. */
  async log(): Promise<string> {
    return await readFile(join(this.folder, "log"), "utf8");
  }

  async stop(): Promise<void> {
    await end(this.process);
    await rm(this.folder, { recursive: true });
  }
}

/** Reads what the server prints when it is ready. Whatever it prints later is let through. */
async function greeting(child: ChildProcess): Promise<{ health: string; signIn: string }> {
  if (!child.stdout) throw new Error("standard output is not piped");
  const timer = setTimeout(() => child.kill("SIGKILL"), START_SECONDS * 1000);
  const failed = once(child, "error").then(([error]) => Promise.reject(error as Error));
  const lines = createInterface({ input: child.stdout });
  const read = (async () => {
    let [health, signIn] = ["", ""];
    for await (const line of lines) {
      health = /^\s*health\s+(\S+)/.exec(line)?.[1] ?? health;
      signIn = /^\s*sign in\s+(\S+)/.exec(line)?.[1] ?? signIn;
      if (/^\s*data\s/.test(line)) return { health, signIn };
    }
    throw new Error("it ended");
  })();
  try {
    return await Promise.race([read, failed]);
  } finally {
    clearTimeout(timer);
    lines.close();
    child.stdout.resume();
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_SECONDS * 1000);
  await exited;
  clearTimeout(timer);
}
