// @vitest-environment happy-dom
import { act, StrictMode } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { useVoiceAgent, useVoiceInput, type UseVoiceAgentOptions, type UseVoiceAgentReturn, type UseVoiceInputReturn } from "../src/react.js";
import { ALL_FEATURES, FakeAudioContext, FakeMicrophone, FakeSocket, welcome } from "./fakes.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

let root: Root;
beforeEach(() => {
  root = createRoot(document.createElement("div"));
});
afterEach(() => {
  act(() => root.unmount());
  FakeSocket.all.length = 0;
});

const fakes = () => ({
  host: "desk.test",
  audioInput: new FakeMicrophone(),
  audioContext: () => new FakeAudioContext().asContext(),
  webSocket: (url: string) => new FakeSocket(url) as unknown as WebSocket,
});

/** Renders the hook and gives a function that says what it returned last. */
function agent(options: UseVoiceAgentOptions, strict = false) {
  const shared = fakes();
  let latest: UseVoiceAgentReturn | null = null;
  function Page(props: { options: UseVoiceAgentOptions }) {
    latest = useVoiceAgent({ ...shared, ...props.options });
    return null;
  }
  const render = (next: UseVoiceAgentOptions) => {
    const page = <Page options={next} />;
    act(() => root.render(strict ? <StrictMode>{page}</StrictMode> : page));
  };
  render(options);
  return {
    get now(): UseVoiceAgentReturn {
      if (!latest) throw new Error("not rendered");
      return latest;
    },
    render,
    microphone: shared.audioInput,
  };
}

function open(features: string[] = []): FakeSocket {
  const socket = FakeSocket.last;
  act(() => {
    socket.open();
    welcome(socket, features);
  });
  return socket;
}

describe("useVoiceAgent", () => {
  test("connects, holds a call and shows what is said", async () => {
    const hook = agent({ agent: "hello" });
    expect(hook.now.connected).toBe(false);
    const socket = open(ALL_FEATURES);
    expect(hook.now.connected).toBe(true);
    expect(hook.now.features).toEqual(ALL_FEATURES);

    await act(() => hook.now.startCall());
    expect(hook.now.callState).toBe("active");
    act(() =>
      socket.says(
        { type: "audio_config", format: "pcm16", sampleRate: 16_000 },
        { type: "status", status: "listening" },
        { type: "transcript_interim", text: "good" },
      ),
    );
    expect(hook.now.status).toBe("listening");
    expect(hook.now.interimTranscript).toBe("good");
    act(() => hook.microphone.speaks(0.3));
    expect(hook.now.audioLevel).toBe(0.3);
    act(() => socket.says({ type: "transcript", role: "user", text: "Good morning." }, { type: "metrics", llm_ms: 1, tts_ms: 1, first_audio_ms: 1, total_ms: 2 }));
    expect(hook.now.transcript.map((m) => m.text)).toEqual(["Good morning."]);
    expect(hook.now.metrics?.total_ms).toBe(2);

    act(() => hook.now.toggleMute());
    expect(hook.now.isMuted).toBe(true);
    act(() => hook.now.sendText("typed"));
    expect(socket.json.at(-1)).toEqual({ type: "text_message", text: "typed" });
    act(() => hook.now.endCall());
    expect(hook.now.status).toBe("idle");
  });

  test("does not connect while it is not enabled", () => {
    const hook = agent({ agent: "hello", enabled: false });
    expect(FakeSocket.all).toHaveLength(0);
    hook.render({ agent: "hello", enabled: true });
    expect(FakeSocket.all).toHaveLength(1);
    hook.render({ agent: "hello", enabled: false });
    expect(hook.now.connected).toBe(false);
  });

  test("moves to another agent with nothing left of the one before, and says that it did", () => {
    const onReconnect = vi.fn();
    const hook = agent({ agent: "hello", onReconnect });
    const first = open();
    act(() => first.says({ type: "transcript", role: "assistant", text: "I am hello." }));
    hook.render({ agent: "sales", onReconnect });
    expect(onReconnect).toHaveBeenCalledTimes(1);
    expect(first.readyState).toBe(3);
    expect(FakeSocket.last.url).toContain("/agents/sales/");
    expect(hook.now.transcript).toEqual([]);
  });

  test("stays connected when it is rendered again with the same identity", () => {
    const hook = agent({ agent: "hello", query: { token: "t" } });
    open();
    hook.render({ agent: "hello", query: { token: "t" } });
    expect(FakeSocket.all).toHaveLength(1);
  });

  test("changes the loudspeaker without a new connection", async () => {
    const hook = agent({ agent: "hello" });
    open();
    await act(() => hook.now.startCall());
    await act(async () => hook.render({ agent: "hello", outputDeviceId: "headset" }));
    expect(FakeAudioContext.last?.sinkId).toBe("headset");
    expect(FakeSocket.all).toHaveLength(1);
  });

  test("shows a notice until it is done", () => {
    const hook = agent({ agent: "hello" });
    const socket = open(ALL_FEATURES);
    act(() => socket.says({ type: "notice", id: "n", text: "Downloading" }));
    expect(hook.now.notice?.text).toBe("Downloading");
    act(() => socket.says({ type: "notice", id: "n", text: "Done", done: true }));
    expect(hook.now.notice).toBeNull();
  });

  test("leaves one connection under strict mode, and none after it is gone", () => {
    agent({ agent: "hello" }, true);
    expect(FakeSocket.all.filter((s) => s.readyState !== 3)).toHaveLength(1);
    act(() => root.render(null));
    expect(FakeSocket.all.filter((s) => s.readyState !== 3)).toHaveLength(0);
  });
});

describe("useVoiceInput", () => {
  test("gathers what the person says, not what the agent says, and begins again after clear", async () => {
    const shared = fakes();
    let latest: UseVoiceInputReturn | undefined;
    function Page() {
      latest = useVoiceInput({ agent: "dictation", ...shared });
      return null;
    }
    act(() => root.render(<Page />));
    const socket = open();
    await act(async () => latest?.start());
    act(() =>
      socket.says(
        { type: "status", status: "listening" },
        { type: "transcript", role: "user", text: "Dear Anna," },
        { type: "transcript", role: "assistant", text: "noted" },
        { type: "transcript", role: "user", text: "thank you." },
      ),
    );
    expect(latest).toMatchObject({ transcript: "Dear Anna, thank you.", isListening: true });
    act(() => latest?.clear());
    expect(latest?.transcript).toBe("");
    act(() => socket.says({ type: "transcript", role: "user", text: "Second letter." }));
    expect(latest?.transcript).toBe("Second letter.");
    act(() => latest?.stop());
    expect(latest?.isListening).toBe(false);
    expect(socket.types().at(-1)).toBe("end_call");
  });
});
