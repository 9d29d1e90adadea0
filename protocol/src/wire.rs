//! What crosses the wire between nodes: encodings, caps, topics, and the checks each message passes before anything
//! believes it.
//!
//! The module never opens a connection and never decides what a message means; that is the business of the state
//! machines.
//!
//! | module | what it answers |
//! |---|---|
//! | [`canonical`] | are these bytes canonical DAG-CBOR? |
//! | [`envelope`] | who signed this, for which network, when, and is it true? |
//! | [`gossip`] | on which topic does it travel, and what does the mesh do with it? |
//! | [`registry`] | how does one node hand another the heartbeats it holds? |

pub mod canonical;
pub mod envelope;
pub mod gossip;
pub mod registry;
