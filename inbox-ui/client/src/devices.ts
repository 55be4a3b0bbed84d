/** Which microphones and loudspeakers there are. */

export interface VoiceDevices {
  inputs: { deviceId: string; label: string }[];
  outputs: { deviceId: string; label: string }[];
}

/**
 * Lists the devices. Names are empty, and the list may be short, until the microphone was allowed;
 * listen to `navigator.mediaDevices`' `devicechange` event and ask again after a call has started.
 */
export async function listDevices(): Promise<VoiceDevices> {
  const all = (await globalThis.navigator?.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
  const of = (kind: MediaDeviceKind) => all.filter((d) => d.kind === kind && d.deviceId !== "").map(({ deviceId, label }) => ({ deviceId, label }));
  return { inputs: of("audioinput"), outputs: of("audiooutput") };
}
