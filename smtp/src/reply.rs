//! SMTP replies.
