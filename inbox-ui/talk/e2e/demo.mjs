// @ts-check
/** `npm run demo`: the built page with an agent that repeats what is written to it. Needs flite. */

import { FakeDesk } from "./fake-desk.mjs";
import { speech } from "./wav.mjs";

const desk = new FakeDesk({ rate: 16_000, about: "An agent that repeats what you write. It does not understand speech." });
desk.onMessage = (message, connection) => {
  const call = connection.call;
  if (message.type === "start_call") call?.say("Hello. Write something, and I will say it.", speech("Hello. Write something, and I will say it.").samples);
  if (message.type !== "text_message") return;
  const text = String(message["text"]).slice(0, 500);
  connection.send({ type: "transcript", role: "user", text });
  if (call && !call.ended) call.say(text, speech(text).samples);
  else connection.send({ type: "transcript", role: "assistant", text });
};
const port = await desk.listen(8090);
console.log(`http://localhost:${port}/talk/hello`);
