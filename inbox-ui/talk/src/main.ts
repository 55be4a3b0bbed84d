/**
 * The talk page: one agent, one conversation, by voice or in writing.
 *
 * Always holds: nothing is asked of the browser before the person presses a button; everything that can
 * be done by mouse can be done by keyboard; what fails is said in words on the page.
 */

import { environmentError, VoiceClient } from "@frontdesk/client";
import { Conversation } from "./conversation.js";
import { DeviceChoice } from "./devices.js";
import { Notices } from "./notices.js";
import { element, readPage } from "./page.js";
import { announcement, describe, figures, type Situation } from "./words.js";

const page = readPage(document, location);
const client = new VoiceClient({
  agent: page.agent,
  name: page.instance,
  query: { token: page.token || undefined },
});

const start = element<HTMLButtonElement>("start");
const end = element<HTMLButtonElement>("end");
const mute = element<HTMLButtonElement>("mute");
const stop = element<HTMLButtonElement>("stop");
const meter = element("meter");
const error = element("error");
const text = element<HTMLInputElement>("text");
const pace = element<HTMLSelectElement>("pace");
const announcer = element("announcer");
const canSpeak = environmentError();

showWho();
const conversation = new Conversation(page.name);
const devices = new DeviceChoice(client);
const notices = new Notices((id) => client.sendNoticeAction(id));
let before: Situation = situation();

for (const event of ["statuschange", "callstatechange", "connectionchange", "playingchange", "mutechange"] as const) {
  client.addEventListener(event, showState);
}
client.addEventListener("audiolevelchange", showLevel);
client.addEventListener("error", showError);
client.addEventListener("outputdeviceerror", showError);
client.addEventListener("transcriptchange", (messages) => {
  conversation.show(messages);
  // In a call the reply is heard anyway; a screen reader would talk over it.
  const newest = messages.at(-1);
  if (client.callState === "none" && newest?.role === "assistant" && newest.complete) announce(`${page.name}: ${newest.text}`);
});
client.addEventListener("interimtranscript", (words) => conversation.showInterim(words));
client.addEventListener("notice", (notice) => notices.show(notice));
client.addEventListener("resumed", (same) => {
  if (!same) announce("The call had to be started again.");
});
client.addEventListener("metricschange", showFigures);
client.addEventListener("roundtrip", showFigures);
client.addEventListener("featureschange", (features) => {
  pace.hidden = element("pace-label").hidden = !features.includes("pace");
});

start.addEventListener("click", () => void client.startCall());
end.addEventListener("click", () => client.endCall());
mute.addEventListener("click", () => client.toggleMute());
stop.addEventListener("click", () => client.interrupt());
pace.addEventListener("change", () => client.setPace(Number(pace.value)));
element<HTMLFormElement>("write").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = text.value.trim();
  if (!words || !client.connected) return;
  client.sendText(words);
  text.value = "";
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && client.isPlaying) client.interrupt();
});

showState();
void devices.refresh();
client.connect();

function showWho(): void {
  document.title = `Talk to ${page.name}`;
  element("agent").textContent = `Talk to ${page.name}`;
  const about = element("about");
  about.textContent = page.about;
  about.hidden = page.about === "";
  element("call").hidden = canSpeak !== null;
  element("settings").hidden = canSpeak !== null;
  element("insecure").hidden = canSpeak === null;
  if (!canSpeak) return;
  element("insecure-why").textContent = canSpeak.message;
  if (location.protocol !== "http:") return;
  const secure = new URL(location.href);
  secure.protocol = "https:";
  element<HTMLAnchorElement>("insecure-https").href = secure.href;
  element("insecure-link").hidden = false;
}

function situation(): Situation {
  const { connected, callState, status, isPlaying: playing, isMuted: muted } = client;
  const down = client.errorDetail?.code === "connection_lost";
  const refused = client.errorDetail?.code === "connection_refused";
  return { name: page.name, down, refused, connected, callState, status, playing, muted };
}

function showState(): void {
  const now = situation();
  const { text: words, tone } = describe(now);
  element("status-text").textContent = words;
  element("status").dataset["tone"] = tone;

  const inCall = now.callState !== "none";
  swapFocus(start, end, inCall);
  start.disabled = !now.connected;
  mute.hidden = stop.hidden = meter.hidden = !inCall;
  mute.setAttribute("aria-pressed", String(now.muted));
  mute.textContent = now.muted ? "Unmute" : "Mute";
  if (!now.playing && document.activeElement === stop) end.focus();
  stop.disabled = !now.playing;
  element<HTMLButtonElement>("send").disabled = !now.connected;

  const said = announcement(before, now);
  before = now;
  if (said) announce(said);
}

/** Shows one of two buttons that stand in for each other, and keeps the keyboard on it. */
function swapFocus(first: HTMLButtonElement, second: HTMLButtonElement, useSecond: boolean): void {
  const focused = document.activeElement === first || document.activeElement === second;
  first.hidden = useSecond;
  second.hidden = !useSecond;
  if (focused) (useSecond ? second : first).focus();
}

/** Speech lies between -60 and -10 dB of full scale; a straight scale would barely move. */
function showLevel(level: number): void {
  const share = level <= 0 ? 0 : Math.min(1, Math.max(0, (20 * Math.log10(level) + 60) / 50));
  (meter.firstElementChild as HTMLElement).style.setProperty("--level", share.toFixed(2));
  meter.setAttribute("aria-valuenow", String(Math.round(share * 100)));
}

function showError(): void {
  // That the line is down is said above, where the state is.
  const problem = client.errorDetail?.code === "connection_lost" ? null : client.error;
  const messages = [problem, client.outputDeviceError].filter((message) => message !== null);
  error.textContent = messages.join(" ");
  error.hidden = messages.length === 0;
  showState();
}

function showFigures(): void {
  element("figures").textContent = figures(client.metrics?.first_audio_ms ?? null, client.roundTripMs);
}

function announce(words: string): void {
  announcer.textContent = words;
}
