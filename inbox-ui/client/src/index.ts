/** Talk to a Frontdesk agent from the browser. See the README for a first call. */

export {
  VoiceClient,
  type VoiceCallState,
  type VoiceClientEvent,
  type VoiceClientEventMap,
  type VoiceClientOptions,
  type VoiceConnectionDiagnostic,
} from "./client.js";
export { listDevices, type VoiceDevices } from "./devices.js";
export { environmentError, type VoiceError, type VoiceLocalErrorCode } from "./errors.js";
export type { VoiceAudioInput } from "./microphone.js";
export {
  VOICE_FEATURES,
  VOICE_PROTOCOL_VERSION,
  type CallOptions,
  type PlaybackPosition,
  type PlaybackState,
  type VoiceAudioFormat,
  type VoiceCompletionOutcome,
  type VoiceFeature,
  type VoiceNotice,
  type VoicePipelineMetrics,
  type VoiceRole,
  type VoiceStatus,
  type VoiceTurnMetrics,
} from "./protocol.js";
export type { TranscriptMessage } from "./transcript.js";
export { WebSocketVoiceTransport, type VoiceTransport, type VoiceTransportCloseInfo, type WebSocketTransportOptions } from "./transport.js";
