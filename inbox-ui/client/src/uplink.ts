/**
 * The way of captured audio to the server, bounded on both sides of a drop.
 *
 * Always holds: at most `HOLD_BYTES` wait for a lost connection, the newest; and where the network
 * takes less than the microphone gives, audio is dropped rather than delivered ever later.
 */

import type { VoiceTransport } from "./transport.js";

/** 32,000 bytes are one second. What was said longer ago than this answers nothing any more. */
const HOLD_BYTES = 2 * 32_000;
const CONGESTED_BYTES = 3 * 32_000;

export class Uplink {
  #held: ArrayBuffer[] = [];
  #heldBytes = 0;

  send(transport: VoiceTransport, pcm: ArrayBuffer): void {
    if ((transport.bufferedAmount ?? 0) <= CONGESTED_BYTES) transport.sendBinary(pcm);
  }

  hold(pcm: ArrayBuffer): void {
    this.#held.push(pcm);
    this.#heldBytes += pcm.byteLength;
    while (this.#heldBytes > HOLD_BYTES) this.#heldBytes -= this.#held.shift()?.byteLength ?? this.#heldBytes;
  }

  drain(transport: VoiceTransport): void {
    for (const pcm of this.#held) transport.sendBinary(pcm);
    this.drop();
  }

  drop(): void {
    this.#held = [];
    this.#heldBytes = 0;
  }
}
