/**
 * Notices from the microphone's level alone that the caller speaks, and that the caller speaks over
 * the agent. Same thresholds and meaning as in `agents/voice`.
 *
 * It is cheap and it is fooled by noise and echo. Whoever listens decides what it is worth: where the
 * server detects speech itself, this is only a hint.
 */

export interface DetectorOptions {
  /** Below this level there is silence. Default 0.04. */
  silenceThreshold?: number | undefined;
  /** Silence this long ends speech. Default 500 ms. */
  silenceDurationMs?: number | undefined;
  /** Above this level, while the agent is heard, someone speaks over it. Default 0.05. */
  interruptThreshold?: number | undefined;
  /** So many levels in a row must be above it; each stands for 100 ms. Default 2. */
  interruptChunks?: number | undefined;
}

export interface DetectorEvents {
  speechStart(): void;
  speechEnd(): void;
  bargeIn(): void;
}

export class SpeechDetector {
  readonly #silenceThreshold: number;
  readonly #silenceDurationMs: number;
  readonly #interruptThreshold: number;
  readonly #interruptChunks: number;
  readonly #events: DetectorEvents;
  #speaking = false;
  #loudInARow = 0;
  #silence: ReturnType<typeof setTimeout> | undefined;

  constructor(options: DetectorOptions, events: DetectorEvents) {
    this.#silenceThreshold = options.silenceThreshold ?? 0.04;
    this.#silenceDurationMs = options.silenceDurationMs ?? 500;
    this.#interruptThreshold = options.interruptThreshold ?? 0.05;
    this.#interruptChunks = options.interruptChunks ?? 2;
    this.#events = events;
  }

  /** Takes the next level; `agentAudible` says whether the agent can be heard at this moment. */
  level(rms: number, agentAudible: boolean): void {
    this.#loudInARow = agentAudible && rms > this.#interruptThreshold ? this.#loudInARow + 1 : 0;
    if (this.#loudInARow >= this.#interruptChunks) {
      this.#loudInARow = 0;
      this.#events.bargeIn();
    }
    if (rms > this.#silenceThreshold) {
      clearTimeout(this.#silence);
      this.#silence = undefined;
      if (!this.#speaking) {
        this.#speaking = true;
        this.#events.speechStart();
      }
    } else if (this.#speaking && this.#silence === undefined) {
      this.#silence = setTimeout(() => this.endSpeech(), this.#silenceDurationMs);
    }
  }

  /** Ends speech now if there is any, as when the microphone is muted. */
  endSpeech(): void {
    if (!this.#speaking) return;
    this.reset();
    this.#events.speechEnd();
  }

  /** Forgets everything and says nothing. */
  reset(): void {
    clearTimeout(this.#silence);
    this.#silence = undefined;
    this.#speaking = false;
    this.#loudInARow = 0;
  }
}
