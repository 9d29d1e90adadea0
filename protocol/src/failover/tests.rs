//! The watch, step by step; then everything at once ([`model`]), and at random over longer times ([`schedules`]).

mod model;
mod schedules;
mod watch;
mod world;
