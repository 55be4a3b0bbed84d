/**
 * Where the agent's voice leaves the page, and on which loudspeaker.
 *
 * Newer browsers choose it on the audio context; older ones can only do it on a media element, which
 * is then put in between. Always holds: sound always has a way out; where a choice fails, the former
 * one stays and the failure is reported.
 */

import { localError, type VoiceError } from "./errors.js";

type SinkContext = AudioContext & { setSinkId?: (id: string) => Promise<void> };
type SinkElement = HTMLAudioElement & { setSinkId?: (id: string) => Promise<void> };

export class AudioOutput {
  readonly #context: SinkContext;
  readonly input: GainNode;
  #bridge: { element: SinkElement; node: MediaStreamAudioDestinationNode } | null = null;
  /** Counts choices; an older one that ends late is not reported. */
  #choice = 0;

  constructor(context: AudioContext) {
    this.#context = context;
    this.input = context.createGain();
    this.input.connect(context.destination);
  }

  /** Uses this device from now on; `undefined` and `"default"` mean the system's own choice. */
  async setDevice(deviceId: string | undefined): Promise<VoiceError | null> {
    const choice = ++this.#choice;
    const wanted = deviceId === "default" ? "" : (deviceId ?? "");
    try {
      if (this.#context.setSinkId) await this.#context.setSinkId(wanted);
      else if (wanted !== "" || this.#bridge) {
        const problem = await this.#useElement(wanted);
        if (problem) return problem;
      }
      return null;
    } catch {
      return choice === this.#choice ? localError("output_failed") : null;
    }
  }

  close(): void {
    this.#choice++;
    this.input.disconnect();
    if (!this.#bridge) return;
    this.#bridge.element.pause();
    this.#bridge.element.srcObject = null;
    this.#bridge = null;
  }

  async #useElement(deviceId: string): Promise<VoiceError | null> {
    const choice = this.#choice;
    const element: SinkElement = this.#bridge?.element ?? new Audio();
    if (!element.setSinkId) return localError("output_unsupported");
    await element.setSinkId(deviceId);
    if (this.#bridge || choice !== this.#choice) return null;
    const node = this.#context.createMediaStreamDestination();
    element.srcObject = node.stream;
    await element.play();
    if (choice !== this.#choice) {
      element.pause();
      return null;
    }
    this.#bridge = { element, node };
    this.input.disconnect();
    this.input.connect(node);
    return null;
  }
}
