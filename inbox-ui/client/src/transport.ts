/**
 * The data channel to the server, and the WebSocket that it is by default.
 *
 * Always holds: after `disconnect` no callback is called; at most one socket is open; callbacks of a
 * socket that was given up are not heard.
 */

export interface VoiceTransportCloseInfo {
  code?: number;
  reason?: string;
  wasClean?: boolean;
  /** Whether the transport tries again by itself. Absent means that it does. */
  willReconnect?: boolean;
}

/** Same members as in `agents/voice`, so that transports written for it fit; the optional ones are ours. */
export interface VoiceTransport {
  sendJSON(data: Record<string, unknown>): void;
  sendBinary(data: ArrayBuffer): void;
  connect(): void;
  disconnect(): void;
  readonly connected: boolean;
  onopen: (() => void) | null;
  onclose: ((info?: VoiceTransportCloseInfo) => void) | null;
  onerror: ((error?: unknown) => void) | null;
  onmessage: ((data: string | ArrayBuffer | Blob) => void) | null;
  /** Gives up the present connection at once and opens another. */
  reconnect?(): void;
  /** Bytes accepted but not yet handed to the network. */
  readonly bufferedAmount?: number;
}

export interface WebSocketTransportOptions {
  agent: string;
  name?: string | undefined;
  /** Host with port, or an address with scheme. Default: where the page came from. */
  host?: string | undefined;
  query?: Record<string, string | null | undefined> | undefined;
  /** Instead of the browser's `WebSocket`. */
  webSocket?: ((url: string) => WebSocket) | undefined;
}

/** Waits before attempt 1, 2, …; the last repeats. Short at first: a call waits on the line. */
const BACKOFF_MS = [100, 300, 1000, 2000, 4000, 8000] as const;
/** Share of a wait that is left to chance, so that a server's return is not met by all at once. */
const JITTER = 0.3;
const OPEN_TIMEOUT_MS = 10_000;

export class WebSocketVoiceTransport implements VoiceTransport {
  onopen: (() => void) | null = null;
  onclose: ((info?: VoiceTransportCloseInfo) => void) | null = null;
  onerror: ((error?: unknown) => void) | null = null;
  onmessage: ((data: string | ArrayBuffer | Blob) => void) | null = null;

  readonly #url: string;
  readonly #create: (url: string) => WebSocket;
  #socket: WebSocket | null = null;
  #wanted = false;
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: WebSocketTransportOptions) {
    this.#url = voiceUrl(options, globalThis.location);
    this.#create = options.webSocket ?? ((url) => new WebSocket(url));
  }

  get connected(): boolean {
    return this.#socket?.readyState === 1;
  }

  get bufferedAmount(): number {
    return this.#socket?.bufferedAmount ?? 0;
  }

  sendJSON(data: Record<string, unknown>): void {
    if (this.connected) this.#socket?.send(JSON.stringify(data));
  }

  sendBinary(data: ArrayBuffer): void {
    if (this.connected) this.#socket?.send(data);
  }

  connect(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#attempt = 0;
    globalThis.addEventListener?.("online", this.#online);
    this.#open();
  }

  disconnect(): void {
    this.#wanted = false;
    globalThis.removeEventListener?.("online", this.#online);
    clearTimeout(this.#timer);
    this.#abandon();
  }

  reconnect(): void {
    if (!this.#wanted) return;
    const wasOpen = this.connected;
    this.#abandon();
    if (wasOpen) this.onclose?.({ code: 1006, reason: "no answer", wasClean: false, willReconnect: true });
    this.#attempt = 0;
    this.#retry();
  }

  /** The network is back: no reason to wait any longer. */
  readonly #online = (): void => {
    if (this.#socket) return;
    this.#attempt = 0;
    this.#retry();
  };

  #open(): void {
    let socket: WebSocket;
    try {
      socket = this.#create(this.#url);
    } catch (error) {
      this.onerror?.(error);
      this.#retry();
      return;
    }
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#abandon();
      this.onerror?.(new Error("the server did not answer in time"));
      this.#retry();
    }, OPEN_TIMEOUT_MS);
    socket.onopen = () => {
      clearTimeout(this.#timer);
      this.#attempt = 0;
      this.onopen?.();
    };
    socket.onmessage = (event: MessageEvent<string | ArrayBuffer | Blob>) => this.onmessage?.(event.data);
    socket.onerror = (event) => this.onerror?.(event);
    socket.onclose = (event) => {
      clearTimeout(this.#timer);
      this.#socket = null;
      const willReconnect = !isFinal(event.code);
      this.onclose?.({ code: event.code, reason: event.reason, wasClean: event.wasClean, willReconnect });
      if (!willReconnect) this.#wanted = false;
      this.#retry();
    };
  }

  #retry(): void {
    clearTimeout(this.#timer);
    if (!this.#wanted) return;
    const wait = BACKOFF_MS[Math.min(this.#attempt, BACKOFF_MS.length - 1)] ?? 0;
    this.#attempt++;
    this.#timer = setTimeout(() => this.#open(), wait * (1 - JITTER + 2 * JITTER * Math.random()));
  }

  /** Lets go of the socket without waiting for its farewell, which a dead network never brings. */
  #abandon(): void {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onerror = socket.onclose = null;
    socket.close();
  }
}

/** 1008 is "policy violation" (RFC 6455, section 7.4.1); 4400 to 4499 mirror HTTP's client errors. */
function isFinal(code: number): boolean {
  return code === 1008 || (code >= 4400 && code <= 4499);
}

/** `ws(s)://host/agents/{agent}/{name}?query`, with the agent in kebab case as the server has it. */
export function voiceUrl(options: WebSocketTransportOptions, page: { host: string; protocol: string } | undefined): string {
  const host = options.host ?? page?.host ?? "localhost";
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(options.query ?? {})) if (value != null) query.set(key, value);
  const search = query.size > 0 ? `?${query}` : "";
  return `${origin(host, page)}/agents/${encodeURIComponent(kebabCase(options.agent))}/${encodeURIComponent(options.name ?? "default")}${search}`;
}

function origin(host: string, page: { host: string; protocol: string } | undefined): string {
  const given = /^(https?|wss?):\/\/(.+?)\/*$/.exec(host);
  if (given) return `${given[1] === "https" || given[1] === "wss" ? "wss" : "ws"}://${given[2]}`;
  if (page && page.host === host) return `${page.protocol === "https:" ? "wss" : "ws"}://${host}`;
  return `${isThisMachine(host) ? "ws" : "wss"}://${host}`;
}

function isThisMachine(host: string): boolean {
  return /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/.test(host);
}

/** `SupportDesk` and `support_desk` are `support-desk`; `HELLO` is `hello`, not five words. */
function kebabCase(name: string): string {
  const words = name === name.toUpperCase() ? name.toLowerCase() : name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return words.replace(/_/g, "-").replace(/^-|-$/g, "");
}
