//! What agents want of calls, as part of the effects of a handler.

use super::{
    load_call,
    said::{Spoken, insert_spoken},
};
use crate::{
    BlobId, CallId, InstanceId, MessageId,
    live::{Directive, RecordingInfo, Via, Wanted},
    store::{Result, StoreError, Tx, Wake, accept},
};
use std::sync::Arc;

/// Tells an open call of an instance, or all of them, what its agent wants. A call that is over meanwhile
/// hears nothing more.
pub(in crate::store) fn direct(
    tx: &mut Tx<'_>,
    instance: InstanceId,
    call: Option<CallId>,
    what: Wanted,
) -> Result<()> {
    if let Some(call) = call {
        own(tx, instance, call)?;
        let is_open = tx
            .find("SELECT 1 FROM calls WHERE id = ?1 AND ended_at IS NULL", (call,), |_| Ok(()))?
            .is_some();
        if !is_open {
            tracing::info!(%call, %instance, "what an agent wanted of a call came after its end");
            return Ok(());
        }
    }
    tx.wake(Wake::Directive(Arc::new(Directive { instance, call, what })));
    Ok(())
}

/// Keeps a final transcript of an agent that only listens.
pub(in crate::store) fn dictate(
    tx: &Tx<'_>,
    instance: InstanceId,
    agent: &str,
    call: CallId,
    text: String,
) -> Result<MessageId> {
    own(tx, instance, call)?;
    let call = load_call(tx, call)?;
    let said: u32 =
        tx.row("SELECT count(*) FROM spoken WHERE call_id = ?1", (call.id,), |row| row.get(0))?;
    let at_ms = tx.now - call.started_at.as_millisecond();
    insert_spoken(tx, &call, agent, Spoken::caller(said + 1, Via::Speech, at_ms, text))
}

/// Attaches the recording of a call to a message. One that is not there, or too large for a mail, is left out.
pub(in crate::store) fn attach_recording(
    tx: &Tx<'_>,
    instance: InstanceId,
    message: MessageId,
    part: usize,
    call: CallId,
) -> Result<()> {
    own(tx, instance, call)?;
    let recording = tx.find(
        "SELECT k.recording, k.recording_type, b.size FROM calls k JOIN blobs b ON b.id = k.recording
         WHERE k.id = ?1",
        (call,),
        |row| {
            let (blob, size): (BlobId, i64) = (row.get(0)?, row.get(2)?);
            Ok((blob, RecordingInfo { media_type: row.get(1)?, size: size.cast_unsigned() }))
        },
    )?;
    let Some((blob, info)) = recording.filter(|(_, info)| info.fits_a_mail()) else {
        return Ok(());
    };
    let name = format!("call-{call}.{}", info.extension());
    tx.run(
        "INSERT INTO attachments (message_id, part, name, media_type, size, inline, blob)
         VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)",
        (message, part, name, &info.media_type, info.size.cast_signed(), blob),
    )?;
    Ok(())
}

fn own(tx: &Tx<'_>, instance: InstanceId, call: CallId) -> Result<()> {
    let call_of = load_call(tx, call)?;
    if accept::instance_of(tx, call_of.conversation)? == instance {
        return Ok(());
    }
    Err(StoreError::Conflict(format!("call {call} does not belong to instance {instance}")))
}
