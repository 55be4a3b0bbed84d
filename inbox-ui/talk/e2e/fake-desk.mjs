// @ts-check
/**
 * A stand-in for the server: hands out the built page and speaks the call protocol, as told by a test.
 *
 * It understands no speech. It keeps what arrives, and says what it is given, paced as the real server
 * paces it: 20 ms frames, at most 250 ms ahead of real time.
 */

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { WebSocketServer } from "ws";

const DIST = fileURLToPath(new URL("../dist/", import.meta.url));
const TYPES = /** @type {Record<string, string>} */ ({ ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" });
export const ALL_FEATURES = ["frames-20ms", "playback", "resume", "ping", "pace", "notice"];
/** What the real server should send with the page. */
export const CONTENT_SECURITY_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const FRAME_MS = 20;
const LEAD_MS = 250;

/** @typedef {Record<string, any> & { type: string }} Message */

export class FakeDesk {
  /** @param {{ features?: string[], rate?: number, name?: string, about?: string }} [options] */
  constructor(options = {}) {
    this.features = options.features ?? ALL_FEATURES;
    this.rate = options.rate ?? 22_050;
    this.name = options.name ?? "Hello";
    this.about = options.about ?? "";
    /** @type {Call[]} */
    this.calls = [];
    /** @type {Connection[]} */
    this.connections = [];
    /** Called for every message that arrives. @type {(message: Message, connection: Connection) => void} */
    this.onMessage = () => {};
    this.refuseResume = false;
    /** Files served beside the page, by path. @type {Record<string, string>} */
    this.files = {};
    this.http = createServer((request, response) => void this.#page(request.url ?? "/", response));
    this.sockets = new WebSocketServer({ noServer: true });
    this.accepting = true;
    this.http.on("upgrade", (request, socket, head) => {
      if (!this.accepting) {
        socket.destroy();
        return;
      }
      this.sockets.handleUpgrade(request, socket, head, (ws) => this.connections.push(new Connection(this, ws, request.url ?? "")));
    });
  }

  /** @param {number} [port] */
  async listen(port = 0) {
    await new Promise((done) => this.http.listen(port, "127.0.0.1", () => done(undefined)));
    const address = this.http.address();
    this.port = typeof address === "object" && address ? address.port : port;
    return this.port;
  }

  async close() {
    for (const call of this.calls) call.silence();
    for (const client of this.sockets.clients) client.terminate();
    this.http.closeAllConnections();
    await new Promise((done) => this.http.close(done));
  }

  get call() {
    const call = this.calls.at(-1);
    if (!call) throw new Error("no call");
    return call;
  }

  /**
   * @param {string} url
   * @param {import("node:http").ServerResponse} response
   */
  async #page(url, response) {
    const path = new URL(url, "http://desk").pathname;
    const isPage = /^\/talk\/[^/]+$/.test(path) && extname(path) === "";
    const file = isPage ? "index.html" : normalize(path.replace(/^\/talk\//, "")).replace(/^(\.\.[/\\])+/, "");
    try {
      /** @type {string | Buffer} */
      let body = this.files[path] ?? (await readFile(join(DIST, file)));
      if (isPage) body = this.#fill(body.toString("utf8"), path.slice("/talk/".length));
      response.writeHead(200, {
        "content-type": TYPES[extname(file)] ?? "application/octet-stream",
        "content-security-policy": CONTENT_SECURITY_POLICY,
        "permissions-policy": "microphone=(self)",
        "x-content-type-options": "nosniff",
      });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  }

  /**
   * @param {string} html
   * @param {string} agent
   */
  #fill(html, agent) {
    const values = /** @type {Record<string, string>} */ ({ AGENT: agent, AGENT_NAME: this.name, ABOUT: this.about, INSTANCE: "default", TOKEN: "" });
    const escaped = (/** @type {string} */ text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
    return html.replace(/__FRONTDESK_([A-Z_]+?)__/g, (all, key) => escaped(values[key] ?? all));
  }
}

class Connection {
  /**
   * @param {FakeDesk} desk
   * @param {import("ws").WebSocket} ws
   * @param {string} url
   */
  constructor(desk, ws, url) {
    this.desk = desk;
    this.ws = ws;
    this.url = url;
    /** Additions that both sides have. @type {string[]} */
    this.features = [];
    /** @type {Message[]} */
    this.received = [];
    /** @type {Call | null} */
    this.call = null;
    ws.on("message", (data, binary) => {
      const bytes = /** @type {Buffer} */ (data);
      if (binary) this.call?.hear(bytes);
      else this.#message(JSON.parse(bytes.toString("utf8")));
    });
    ws.on("close", () => this.call?.lose(this));
    this.send({ type: "welcome", protocol_version: 1, features: desk.features }, { type: "status", status: "idle" });
  }

  /** @param {...Message} messages */
  send(...messages) {
    for (const message of messages) if (this.ws.readyState === 1) this.ws.send(JSON.stringify(message));
  }

  /** Cuts the line without a word, as a network does. */
  drop() {
    this.ws.terminate();
  }

  /** @param {Message} message */
  #message(message) {
    this.received.push(message);
    if (message.type === "hello") this.features = agreed(this.desk, message);
    if (message.type === "ping") this.send({ type: "pong", id: message["id"] });
    if (message.type === "start_call") this.#start();
    if (message.type === "resume_call") this.#resume(message);
    this.call?.received(message);
    this.desk.onMessage(message, this);
  }

  #start() {
    this.call = new Call(this);
    this.desk.calls.push(this.call);
    this.send({ type: "audio_config", format: "pcm16", sampleRate: this.desk.rate });
    if (this.features.includes("resume")) this.send({ type: "call_started", resume_token: this.call.token, resume_within_ms: 30_000 });
    this.call.status("listening");
  }

  /** @param {Message} message */
  #resume(message) {
    const call = this.desk.calls.find((c) => c.token === message["token"] && !c.ended);
    if (!call || this.desk.refuseResume) {
      this.send({ type: "call_resume_failed", reason: "unknown" });
      return;
    }
    this.call = call;
    call.regain(this, message);
  }
}

/**
 * @param {FakeDesk} desk
 * @param {Message} hello
 * @returns {string[]}
 */
function agreed(desk, hello) {
  return Array.isArray(hello["features"]) ? desk.features.filter((feature) => hello["features"].includes(feature)) : [];
}

class Call {
  /** @param {Connection} connection */
  constructor(connection) {
    this.desk = connection.desk;
    this.followsPlayback = connection.features.includes("playback");
    /** @type {Connection | null} */
    this.connection = connection;
    this.token = `token-${this.desk.calls.length}-${Date.now()}`;
    this.ended = false;
    this.resumed = 0;
    /** @type {Buffer[]} */
    this.audio = [];
    /** @type {Message[]} */
    this.messages = [];
    this.generation = 0;
    /** @type {{ id: number, text: string, sound: Int16Array, sent: number, startedAt: number, timer: NodeJS.Timeout | undefined } | null} */
    this.speaking = null;
    /** @type {Message[]} messages that could not be delivered */
    this.waiting = [];
  }

  /** All that was heard of the caller, 16 kHz. */
  get heard() {
    const bytes = Buffer.concat(this.audio);
    return new Int16Array(Uint8Array.from(bytes).buffer);
  }

  /** @param {string} type */
  of(type) {
    return this.messages.filter((m) => m.type === type);
  }

  /** @param {...Message} messages */
  send(...messages) {
    if (this.connection) this.connection.send(...messages);
    else this.waiting.push(...messages);
  }

  /** @param {string} status */
  status(status) {
    this.send({ type: "status", status });
  }

  /** @param {Buffer} bytes */
  hear(bytes) {
    this.audio.push(bytes);
  }

  /** @param {Message} message */
  received(message) {
    this.messages.push(message);
    if (message.type === "end_call") {
      this.ended = true;
      this.silence();
      this.status("idle");
    }
    if (message.type === "interrupt") this.cut(message["samples"] ?? 0);
    if (message.type === "playback" && message["state"] === "finished" && message["generation"] === this.generation && !this.speaking) this.status("listening");
  }

  /**
   * Says a text whose sound is given, at the desk's rate.
   * @param {string} text
   * @param {Int16Array} sound
   */
  say(text, sound) {
    this.silence();
    this.generation++;
    const id = this.generation;
    this.status("speaking");
    this.send({ type: "transcript_start", role: "assistant", generation: id }, { type: "transcript_delta", text }, { type: "transcript_end", text });
    if (this.followsPlayback) this.send({ type: "audio_start", generation: id });
    this.speaking = { id, text, sound, sent: 0, startedAt: Date.now(), timer: undefined };
    this.#pace();
  }

  /** Stops speaking; `samples` of the sound were heard. @param {number} samples */
  cut(samples) {
    const reply = this.speaking ?? this.last;
    this.silence();
    if (reply && this.followsPlayback) {
      const at = Math.round(reply.text.length * Math.min(1, samples / reply.sound.length));
      const space = reply.text.lastIndexOf(" ", at);
      const split = space < 0 ? at : space;
      this.send({ type: "transcript_heard", generation: reply.id, heard: reply.text.slice(0, split), unheard: reply.text.slice(split) });
    }
    this.status("listening");
  }

  silence() {
    if (!this.speaking) return;
    clearInterval(this.speaking.timer);
    this.last = this.speaking;
    this.speaking = null;
  }

  /** @param {Connection} connection */
  lose(connection) {
    if (this.connection !== connection) return;
    this.connection = null;
    if (this.speaking) clearInterval(this.speaking.timer);
  }

  /**
   * @param {Connection} connection
   * @param {Message} message
   */
  regain(connection, message) {
    this.connection = connection;
    this.resumed++;
    this.token = `${this.token}+`;
    connection.send(
      { type: "call_resumed", resume_token: this.token, resume_within_ms: 30_000 },
      { type: "audio_config", format: "pcm16", sampleRate: this.desk.rate },
      ...this.waiting.splice(0),
    );
    if (!this.speaking) {
      this.status("listening");
      return;
    }
    this.status("speaking");
    if (message["received"].generation === this.speaking.id) this.speaking.sent = message["received"].samples;
    else this.send({ type: "audio_start", generation: this.speaking.id });
    this.speaking.startedAt = Date.now() - (1000 * this.speaking.sent) / this.desk.rate;
    this.#pace();
  }

  #pace() {
    const reply = this.speaking;
    if (!reply) return;
    const step = Math.round((this.desk.rate * FRAME_MS) / 1000);
    const tick = () => {
      const due = ((Date.now() - reply.startedAt + LEAD_MS) * this.desk.rate) / 1000;
      while (reply.sent < reply.sound.length && reply.sent < due) {
        const piece = reply.sound.slice(reply.sent, reply.sent + step);
        this.connection?.ws.send(Buffer.from(piece.buffer));
        reply.sent += piece.length;
      }
      if (reply.sent < reply.sound.length) return;
      this.silence();
      if (this.followsPlayback) this.send({ type: "audio_end", generation: reply.id });
      else this.status("listening");
    };
    reply.timer = setInterval(tick, FRAME_MS);
    tick();
  }
}
