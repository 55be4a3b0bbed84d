/** The choice of microphone and loudspeaker, kept up to date as devices come and go. */

import { listDevices, type VoiceClient } from "@frontdesk/client";
import { element } from "./page.js";

export class DeviceChoice {
  readonly #client: VoiceClient;
  readonly #input = element<HTMLSelectElement>("input-device");
  readonly #output = element<HTMLSelectElement>("output-device");

  constructor(client: VoiceClient) {
    this.#client = client;
    this.#input.addEventListener("change", () => void client.setInputDevice(this.#input.value || undefined));
    this.#output.addEventListener("change", () => void client.setOutputDevice(this.#output.value || undefined));
    // Names are known only once the microphone was allowed.
    client.addEventListener("callstatechange", (state) => {
      if (state === "active") void this.refresh();
    });
    navigator.mediaDevices?.addEventListener?.("devicechange", () => void this.refresh());
  }

  async refresh(): Promise<void> {
    const { inputs, outputs } = await listDevices();
    if (fill(this.#input, inputs, "Microphone")) void this.#client.setInputDevice();
    if (fill(this.#output, outputs, "Loudspeaker")) void this.#client.setOutputDevice();
  }
}

/** Lists the devices and keeps the choice. Answers whether the chosen device is gone. */
function fill(select: HTMLSelectElement, devices: { deviceId: string; label: string }[], kind: string): boolean {
  const chosen = select.value;
  const named = devices.filter(({ deviceId }) => deviceId !== "default" && deviceId !== "communications");
  select.replaceChildren(
    new Option("The system's own choice", ""),
    ...named.map(({ deviceId, label }, i) => new Option(label || `${kind} ${i + 1}`, deviceId)),
  );
  select.value = chosen;
  if (select.selectedIndex >= 0) return false;
  select.value = "";
  return true;
}
