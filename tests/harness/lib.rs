//! What scenarios are made of: daemons as processes, on real files and real sockets.

pub mod binary;
