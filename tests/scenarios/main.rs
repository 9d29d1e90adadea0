//! Scenarios: real daemons, on real files and real sockets, waited for by what they say and never by the clock.

mod backup;
mod doctor;
mod federation;
mod full_disk;
mod home_networks;
mod ledger;
mod lexicons;
mod many_nodes;
mod migration;
mod network;
mod official_clients;
mod official_lexicons;
mod private_data;
mod process;
mod replication;
mod replication_private;
mod simulated_membership;
mod spaces;
mod storage;
mod tenants;
mod walk;
mod webhooks;
mod xrpc;
