//! `com.atproto.lexicon.*`: what others' documents say.

pub(crate) mod resolve_lexicon;
