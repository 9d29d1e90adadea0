//! Every bound of the protocol in one place, each with its reason.
//!
//! A bound that depends on the machine (connections, memory, disk) is configuration and lives in the node.

use std::time::Duration;

/// Longest DID accepted, in bytes. AT Protocol's DID syntax section sets 2 KiB.
pub const DID_BYTES_MAX: usize = 2048;

/// Longest network id, in bytes: it appears in every topic name and every signed message.
pub const NETWORK_ID_BYTES_MAX: usize = 63;

/// Longest node name (`nodeId`), in bytes (`records.md` 6.1).
pub const NODE_NAME_BYTES_MAX: usize = 64;

/// Longest handle, in bytes: the longest domain name that DNS carries as text.
pub const HANDLE_BYTES_MAX: usize = 253;

/// Longest NSID, in bytes: a domain name of 253, a dot and a name of 63 (AT Protocol "NSID").
pub const NSID_BYTES_MAX: usize = 317;

/// Longest record key, in bytes (AT Protocol "Record Key").
pub const RECORD_KEY_BYTES_MAX: usize = 512;

/// Longest AT URI, in bytes (AT Protocol "AT URI Scheme").
pub const AT_URI_BYTES_MAX: usize = 8192;

/// Longest URI of any scheme in a record, in bytes (AT Protocol "Lexicon", string formats).
pub const URI_BYTES_MAX: usize = 8192;

/// Longest datetime, in bytes (AT Protocol "Lexicon", string formats): the form needs 35 at nanoseconds.
pub const DATETIME_BYTES_MAX: usize = 64;

/// Longest language tag, in bytes. RFC 5646 section 4.4.1 asks for at least 35; tags in use have far fewer.
pub const LANGUAGE_BYTES_MAX: usize = 128;

/// Largest block, in bytes: the largest record that the firehose carries (AT Protocol "Repository").
pub const BLOCK_BYTES_MAX: usize = 1_000_000;

/// Deepest nesting of lists and maps in a record. Widely used relays read no deeper, so a deeper record would not
/// travel; and it bounds recursion.
pub const DATA_DEPTH_MAX: usize = 32;

/// Most elements in one list or map of a record, the bound of widely used relays.
pub const DATA_ELEMENTS_MAX: usize = 128 * 1024;

/// Largest lexicon document, in bytes. The largest published one has about 100 KB.
pub const LEXICON_DOCUMENT_BYTES_MAX: usize = 512 * 1024;

/// Most levels of types within types in a lexicon document. Published documents use three; it bounds recursion.
pub const LEXICON_NESTING_MAX: u32 = 16;

/// Largest record that a lexicon of this network describes, in bytes (`records.md` 1.5): a quarter of what a block may
/// have, so that a commit with a few of them still travels.
pub const LEXICON_RECORD_BYTES_MAX: usize = 256 * 1024;

/// Most URL parameters of one request that are read. The largest list in a published method has 100 values.
pub const XRPC_PARAMETERS_MAX: usize = 1024;

/// Largest signed message between nodes, in bytes (`network.md` 1.4). Also what gossipsub carries by default.
pub const ENVELOPE_BYTES_MAX: usize = 64 * 1024;

/// Deepest nesting inside a message: ours need four; the rest is room to grow without room for stack tricks.
pub const CBOR_DEPTH_MAX: usize = 16;

/// Largest sequence number. Integers above 2^53 - 1 do not survive JSON, and the JSON form must carry every message.
pub const SEQUENCE_MAX: u64 = (1 << 53) - 1;

/// Entries in one registry page: what one second of signature checks on a small machine allows, tenfold undercut.
pub const REGISTRY_PAGE_ENVELOPES_MAX: usize = 256;

/// Envelope bytes in one registry page: half of what request-response carries by default.
pub const REGISTRY_PAGE_BYTES_MAX: usize = 512 * 1024;

/// Pages in one registry exchange: enough for a full registry of [`MEMBERS_MAX`] nodes.
pub const REGISTRY_PAGES_MAX: u32 = 16;

/// Nodes a registry holds. Four times the size a network is designed for; when full, see `membership::registry`.
pub const MEMBERS_MAX: usize = 4096;

/// Neighbours a heartbeat lists (`network.md` 3.3).
pub const HEARTBEAT_PEERS_MAX: usize = 64;

/// Capabilities a node declares (`records.md` 6.1).
pub const CAPABILITIES_MAX: usize = 20;

/// Bytes of an open-ended known value such as a region (`records.md` 1.3).
pub const KNOWN_VALUE_BYTES_MAX: usize = 64;

/// Multiaddresses a node declares, and bytes of each (`records.md` 6.1).
pub const LISTEN_ADDRESSES_MAX: usize = 20;

/// Bytes of one multiaddress as text (`records.md` 6.1).
pub const LISTEN_ADDRESS_BYTES_MAX: usize = 512;

/// Bytes of a node's public URL: longer ones are cut off by common proxies anyway.
pub const ENDPOINT_BYTES_MAX: usize = 2048;

/// Bytes of a software version (`records.md` 6.1).
pub const SOFTWARE_VERSION_BYTES_MAX: usize = 64;

/// Largest node record fetched from a peer, in bytes. The longest honest one is dominated by its governance rules.
pub const NODE_RECORD_BYTES_MAX: usize = 64 * 1024;

/// Nodes one invitation may bring in.
pub const INVITE_USES_MAX: u16 = 64;

/// Former keys remembered per node: a node that rotates daily is still refused by name for half a week.
pub const RETIRED_KEYS_MAX: usize = 4;

/// Connected peers the membership machine follows; the connection limit of the node is far below (`network.md` 9).
pub const CONNECTED_PEERS_MAX: usize = 1024;

/// Records being fetched at once. Each is one request to one peer at a time.
pub const RECORD_FETCHES_MAX: usize = 8;

/// Longest service token, in bytes: two DIDs of full length and a method, in base 64.
pub const SERVICE_TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Longest time for which a service token may still be valid: hosts give out an hour at most, the rest is for clocks.
pub const SERVICE_TOKEN_LIFE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Largest did:plc operation that is read, in bytes of DAG-CBOR: the bound of the specification. Directories take
/// smaller ones, see `plc::admit`.
pub const PLC_OPERATION_BYTES_MAX: usize = 7500;

/// Most operations in the log of one identity: two years at the fastest rate that a directory allows.
pub const PLC_LOG_ENTRIES_MAX: usize = 10_000;

/// Most operations in one page of a directory's export, as the reference directory has it.
pub const PLC_EXPORT_ENTRIES_MAX: usize = 1000;

/// Most names, keys or services that are read from a DID document. Directories allow ten.
pub const DID_DOCUMENT_ENTRIES_MAX: usize = 64;

/// Longest key of a repository's tree, in bytes, as the reference implementation has it. What this node writes is
/// shorter: [`NSID_BYTES_MAX`], a slash and [`RECORD_KEY_BYTES_MAX`].
pub const MST_KEY_BYTES_MAX: usize = 1024;

/// Highest layer of a repository's tree. A key lands on layer n with odds of 4^-n: even 10^12 records reach about
/// layer 20 by chance. Beyond lies search, to make trees tall and every change to them dear, and the recursion over
/// layers ends here.
pub const MST_LAYERS_MAX: u8 = 32;

/// Most entries in one node of a tree. By chance a node of n entries has odds of about (3/4)^n; one this large comes
/// from keys chosen to share a layer, to make every change near them dear.
pub const MST_NODE_ENTRIES_MAX: usize = 1024;

/// Longest header of a CAR file, in bytes: room for a dozen roots, where one is usual.
pub const CAR_HEADER_BYTES_MAX: usize = 600;

/// How far ahead of this node's clock the revision of a commit from elsewhere may be: what relays allow.
pub const REV_AHEAD_MAX: Duration = Duration::from_mins(5);

/// Most writes in one commit (proposal 0006, "Sync v1.1": `ops` of the firehose's `#commit`).
pub const COMMIT_WRITES_MAX: usize = 200;

/// Largest CAR file of one commit, in bytes (proposal 0006, "Sync v1.1": `blocks` of the firehose's `#commit`).
pub const COMMIT_CAR_BYTES_MAX: usize = 2_000_000;

/// Most blocks in the CAR file of one commit: for each of [`COMMIT_WRITES_MAX`] writes the record and the nodes around
/// its path, of which there are about two for each layer and seldom more than ten layers.
pub const COMMIT_CAR_BLOCKS_MAX: u64 = 200 * 32;

/// Largest message of the firehose, in bytes: a `#commit` with [`COMMIT_CAR_BYTES_MAX`] of blocks and
/// [`COMMIT_WRITES_MAX`] operations, each a path and two CIDs, and the fixed fields with the longest DID. Below the
/// 5 MB that the specification allows a frame.
pub const FIREHOSE_MESSAGE_BYTES_MAX: usize =
    COMMIT_CAR_BYTES_MAX + COMMIT_WRITES_MAX * (MST_KEY_BYTES_MAX + 128) + DID_BYTES_MAX + 1024;

/// Longest DID the ledger accepts, in bytes. Rows hold several; every DID method in use stays far below.
pub const LEDGER_DID_BYTES_MAX: usize = 256;

/// Longest text (reason, title) in a ledger transaction, in bytes: 500 graphemes of ordinary text.
pub const LEDGER_TEXT_BYTES_MAX: usize = 2048;

/// Longest reference (at-uri of a cause) in a ledger transaction, in bytes.
pub const LEDGER_URI_BYTES_MAX: usize = 1024;

/// Largest ledger transaction, in bytes: 100 approvals, or 33 observations, and their DIDs fit.
pub const TRANSACTION_BYTES_MAX: usize = 32 * 1024;

/// Longest life of a ledger transaction: long enough to outlast a network below quorum for a day (CNS-L2).
pub const TRANSACTION_LIFE_MAX: Duration = Duration::from_hours(25);

/// Most transactions in one batch: what a small machine verifies in a tenth of a second, and what storage still writes
/// as one: each changes a handful of rows and a few pages of the state tree.
pub const BATCH_TRANSACTIONS_MAX: usize = 2000;

/// Most bytes of transactions in one batch: what a home uplink of 20 Mbit/s sends in half a second.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// How far ahead of the observer's clock a batch's time may lie.
pub const BATCH_TIME_AHEAD_MAX: Duration = Duration::from_secs(10);

/// How far behind the observer's clock the time of a fresh proposal may lie.
pub const BATCH_TIME_BEHIND_MAX: Duration = Duration::from_mins(2);

/// Most validators (architecture: one network has at most 100).
pub const VALIDATORS_MAX: usize = 100;

/// Most validator changes that wait for their height.
pub const VALIDATOR_CHANGES_MAX: usize = 16;

/// How many heights ahead a validator change may be stated.
pub const VALIDATOR_LEAD_MAX: u64 = 100_000;

/// Witnesses of one contribution: each costs a signature check, and the impact score is full at five.
pub const WITNESSES_MAX: usize = 16;

/// Backup nodes of one tenant (`records.md` 6.2).
pub const BACKUPS_MAX: usize = 16;

/// Debts of one wallet that wait for income; debts to one creditor are one.
pub const DEBTS_MAX: usize = 16;

/// Unstaked parts of one wallet that wait for their time.
pub const RELEASES_MAX: usize = 8;

/// Accounts that may delegate to one account: a vote counts them all.
pub const DELEGATORS_MAX: usize = 64;

/// Levels of the state tree: bits of a SHA-256 path.
pub const TREE_DEPTH_MAX: usize = 256;

/// Accounts on a network's allow list.
pub const ALLOWLIST_MAX: usize = 256;

/// Rates of one currency that are kept: the one in force, the one to come, and those recent quotes refer to.
pub const RATES_KEPT: usize = 4;

/// Confirmations of one person's humanity that are kept; two are enough.
pub const VOUCHERS_MAX: usize = 4;

/// How far two honest clocks may be apart (`network.md` 1.4).
pub const CLOCK_SKEW_MAX: Duration = Duration::from_mins(2);

/// Wallets in a genesis: a file of them is read at once.
pub const GENESIS_WALLETS_MAX: usize = 2_000_000;

/// Ledger transactions that wait at one node: ten full batches, so that a burst is not turned away.
pub const MEMPOOL_TRANSACTIONS_MAX: usize = 20_000;

/// Their bytes together: 16 MiB, a sixtieth of the memory of the small profile.
pub const MEMPOOL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Waiting transactions of one wallet: a third of what it may have decided in an hour.
pub const MEMPOOL_WALLET_MAX: usize = 32;

/// Waiting transactions of one node's wallet, which acts for all its accounts.
pub const MEMPOOL_NODE_WALLET_MAX: usize = 1024;

/// Waiting operations of one identity: what a thief's would leave room for its owner's.
pub const MEMPOOL_IDENTITY_MAX: usize = 8;

/// Waiting transactions that one tick gossips again.
pub const MEMPOOL_REPEATS_MAX: usize = 64;

/// Largest encoded batch, in bytes: each transaction brings up to five bytes of its own length, the batch itself
/// fewer than a hundred.
pub const BATCH_ENCODED_BYTES_MAX: usize = BATCH_BYTES_MAX + 5 * BATCH_TRANSACTIONS_MAX + 100;

/// Bytes of a batch in one part of a proposal: a full batch has a few dozen parts, and a lost one is soon sent again.
pub const PART_BYTES_MAX: usize = 64 * 1024;

/// Proposals that are being put together at once: a few rounds of a few proposers.
pub const ASSEMBLIES_MAX: usize = 32;

/// Bytes that unfinished proposals may hold together: eight full batches.
pub const ASSEMBLIES_BYTES_MAX: usize = 8 * BATCH_ENCODED_BYTES_MAX;

/// Largest proof of a ledger row, in bytes: a certificate of a hundred validators, a row, and the way to the root.
pub const PROOF_BYTES_MAX: usize = 64 * 1024;

/// Longest short name of a tenant, in bytes: a label of a handle under this host's domain. The AT Protocol reference host
/// gives out names of at most 18 characters, and its clients expect no more.
pub const TENANT_SLUG_BYTES_MAX: usize = 18;

/// Tenants of one node: as many as it has accounts (architecture: 10,000).
pub const TENANTS_MAX: usize = 10_000;

/// Memberships on one node, all tenants together: they lie in memory, at about 150 bytes each.
pub const TENANT_MEMBERS_MAX: usize = 250_000;

/// Open invitations of one tenant. More are a mistake, or somebody who sends mail.
pub const TENANT_INVITATIONS_MAX: usize = 1_000;

/// Longest message with an invitation, in bytes (`records.md` 5.2: 1,000 graphemes).
pub const INVITATION_MESSAGE_BYTES_MAX: usize = 10_000;

/// Longest line of a tenant's export, in bytes: a record, whose JSON may be half as long again as its bytes.
pub const TENANT_EXPORT_LINE_BYTES_MAX: usize = 2 * BLOCK_BYTES_MAX;

/// Largest export of an account's own spaces that is taken in, in bytes: lists of some hundred thousand people. It is read line
/// by line.
pub const SPACES_IMPORT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Longest line of it, in bytes: settings of a channel, or a complaint with its words.
pub const SPACES_IMPORT_LINE_BYTES_MAX: usize = 256 * 1024;

/// Largest export of a tenant that is taken in by one request, in bytes: it is held in memory while it is checked.
pub const TENANT_IMPORT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long an invitation holds when nobody says (INV-02).
pub const INVITATION_DEFAULT: Duration = Duration::from_hours(7 * 24);

/// How long an invitation holds at most (INV-02).
pub const INVITATION_MAX: Duration = Duration::from_hours(90 * 24);

/// Entries of a provisioning log: it is part of the tenant's row, which has room for 16 KiB. A run has about ten.
pub const PROVISIONING_LOG_MAX: usize = 40;

/// Longest URI of a record in a space, in bytes: that of an AT URI, whose form it has.
pub const SPACE_URI_BYTES_MAX: usize = AT_URI_BYTES_MAX;

/// Longest key of a space, in bytes (proposal 0016, "Space key").
pub const SPACE_KEY_BYTES_MAX: usize = RECORD_KEY_BYTES_MAX;

/// Largest token of a space (delegation, credential, attestation), in bytes. An honest one has under a kibibyte; one
/// whose space has the longest possible URI has sixteen.
pub const SPACE_TOKEN_BYTES_MAX: usize = 16 * 1024;

/// How long a delegation token and a client attestation may be valid. They are made for one exchange and last a minute.
pub const DELEGATION_LIFE_MAX: Duration = Duration::from_secs(300);

/// How long a space credential lasts that this node issues (alpha of October 2026).
pub const CREDENTIAL_LIFE: Duration = Duration::from_secs(600);

/// How long a space credential of another authority may last: what it was good for cannot outlive an hour.
pub const CREDENTIAL_LIFE_MAX: Duration = Duration::from_secs(3600);

/// How far clocks may differ when the time in a token of a space is judged, as the reference implementation has it.
pub const SPACE_CLOCK_SKEW: Duration = Duration::from_secs(5);

/// How far ahead of this clock a revision may be that another host tells of. A later one would lock its author out.
pub const NOTIFIED_REV_AHEAD_MAX: Duration = Duration::from_secs(300);

/// Longest header of a message signature, in bytes: room for a few signatures of others beside ours.
pub const SIGNATURE_HEADER_BYTES_MAX: usize = 8 * 1024;

/// Writes in one commit of a permissioned repository, the bound of public ones (`com.atproto.repo.applyWrites`).
pub const PERMISSIONED_WRITES_MAX: usize = 200;

/// Records in one permissioned repository: the index of a repository of this size has a hundred megabytes.
pub const PERMISSIONED_RECORDS_MAX: u64 = 1_000_000;

/// Records in a permissioned repository elsewhere that is still copied: its index is held in memory once.
pub const SPACE_COPY_RECORDS_MAX: u64 = 100_000;

/// Bytes of one entry in the index of a serialised permissioned repository: the longest path and a link.
pub const PERMISSIONED_ENTRY_BYTES_MAX: usize = 3 + NSID_BYTES_MAX + 1 + RECORD_KEY_BYTES_MAX + 5 + 36;

/// Apps on the list of a space's policy.
pub const SPACE_APPS_MAX: usize = 64;

/// Longest identifier of an app, in bytes: an `https` URL.
pub const CLIENT_ID_BYTES_MAX: usize = 1024;

/// Credentials that one notification revokes (lexicon `com.atproto.space.notifyCredentialRevoked`).
pub const REVOKED_CREDENTIALS_MAX: usize = 100;

/// Longest `jti` of a token of a space, in bytes: ours have 32.
pub const TOKEN_NONCE_BYTES_MAX: usize = 256;

/// Channels that one membership may name with an access of their own (`records.md` 4.4).
pub const CHANNEL_PERMISSIONS_MAX: usize = 200;

/// Longest record key of a channel, in bytes: channels have TIDs, imported ones may have others.
pub const SPACE_CHANNEL_KEY_BYTES_MAX: usize = 64;

/// Longest name of a department, a workflow or a stage of the customer's journey that messages are filtered by, in bytes.
pub const CONTEXT_WORD_BYTES_MAX: usize = 64;

/// Channels of one space: all of them are read when somebody opens it.
pub const SPACE_CHANNELS_MAX: usize = 500;

/// Members of one space: a tenth of what one node hosts is far beyond any plan.
pub const SPACE_MEMBERS_MAX: u64 = 50_000;

/// Messages that one sender may write into one space in a minute (MSG-05).
pub const SPACE_MESSAGES_PER_MINUTE: u32 = 30;

/// Shortest code by which a space may be joined, in characters (INV-04).
pub const INVITE_CODE_CHARS_MIN: usize = 12;

/// Spaces on other nodes that one person is told of having been asked into: whoever asks is a stranger here.
pub const SPACES_ASKED_MAX: usize = 200;

/// Authors whose messages wait until it is known whether they are agents, and messages of each: the records of agents may lie
/// at hosts that do not answer.
pub const UNHEARD_AUTHORS_MAX: usize = 1_000;

/// See [`UNHEARD_AUTHORS_MAX`].
pub const UNHEARD_MESSAGES_MAX: usize = 100;

/// How long they wait for it, as long as webhooks do (SLF-01): whoever is away for longer is looked up when the node starts
/// anew, or with what they say next.
pub const UNHEARD_FOR: Duration = Duration::from_secs(24 * 3600);

/// Members of spaces here whose accounts are elsewhere: each is looked up and followed.
pub const SPACE_AUTHORS_ELSEWHERE_MAX: usize = 10_000;

/// Hosts whose event streams are followed for such members: each is a connection.
pub const SPACE_HOSTS_MAX: usize = 256;

/// Largest question of a hosting node, in bytes: what was written unseen comes in one, a commit of the largest kind
/// among it.
pub const REPLICA_QUESTION_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Largest answer of a hosting node, in bytes: a commit of the largest kind with what belongs to it.
pub const REPLICA_ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Longest key of a private row that travels between hosting nodes, in bytes: what a store takes as a key.
pub const REPLICA_KEY_BYTES_MAX: usize = 1024;

/// Longest name of a key that something is sealed to, in bytes: an `age` recipient has 62.
pub const REPLICA_RECIPIENT_BYTES_MAX: usize = 128;

/// Tenants that one node confirms to another in one message.
pub const REPLICA_KEPT_MAX: usize = 2_000;

/// Ranges that one question to a vault asks for. Of an archive of which a hundredth is gone, so many meet what is gone with
/// a chance of one in four.
pub const VAULT_RANGES_MAX: usize = 32;

/// Bytes of such a range: with all ranges of a question 128 KiB are read.
pub const VAULT_RANGE_BYTES: u64 = 4096;

/// Questions that are made with an archive: each reads as much of it as a vault reads to answer.
pub const VAULT_QUESTIONS_MAX: usize = 512;

/// Unseen writes that are told in one message; more follow in the next.
pub const REPLICA_REPLAY_WRITES_MAX: usize = 256;

/// Second versions of records that are kept for one tenant: somebody looks at each of them and dismisses it.
pub const REPLICA_VERSIONS_MAX: usize = 500;

/// Bytes of all second versions of one tenant: each host keeps them beside what the tenant has.
pub const REPLICA_VERSIONS_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Largest message about a move, in bytes: offers, consents and digests, never what the tenant has.
pub const MIGRATION_FRAME_BYTES_MAX: usize = 16 * 1024;

/// Lines kept of what happened in a move: every phase several times over.
pub const MIGRATION_LOG_MAX: usize = 64;

/// Longest such line, in bytes.
pub const MIGRATION_LINE_BYTES_MAX: usize = 200;

/// Largest piece of a backup before it is compressed, in bytes: what making or reading one holds in memory at a time.
pub const BACKUP_CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Largest manifest of a snapshot, in bytes: its lists lie in chunks, so a store of any size fits.
pub const BACKUP_MANIFEST_BYTES_MAX: usize = 1024 * 1024;

/// Recovery keys that one backup is sealed to.
pub const BACKUP_RECIPIENTS_MAX: usize = 16;

/// Snapshots that one place keeps: an hourly one for more than a year.
pub const BACKUP_SNAPSHOTS_MAX: usize = 10_000;

/// Files besides store and blobs in one snapshot: keys, and the genesis.
pub const BACKUP_FILES_MAX: usize = 1_000;

/// Complaints about messages that a space keeps for its moderators; those that are settled make room first, then the
/// oldest. The operator has all of them.
pub const SPACE_COMPLAINTS_MAX: usize = 1_000;

/// Voters of a roadmap feature that one answer names (`records.md` 8.7).
pub const ROADMAP_VOTERS_MAX: usize = 1_000;

/// Longest pattern of a form that is evaluated, in bytes (`records.md` 8.5).
pub const FORM_PATTERN_BYTES_MAX: usize = 500;

/// Bytes that a pattern may become when it is made ready: a few hundred times its length, as bounded repetitions of letters
/// of all scripts do.
pub const FORM_PATTERN_PROGRAM_BYTES_MAX: usize = 1024 * 1024;

/// Most levels of groups within groups in a pattern.
pub const FORM_PATTERN_NESTING_MAX: u32 = 32;

/// Questions with a pattern in one form: each is made ready and evaluated for whoever sends answers.
pub const FORM_PATTERNS_MAX: usize = 32;

/// Longest answer that is held against a pattern, in bytes. Time goes with its length and with the size of the pattern.
pub const FORM_PATTERN_INPUT_BYTES_MAX: usize = 4096;

/// Longest answer, in characters (`records.md` 8.6).
pub const FORM_ANSWER_CHARS_MAX: usize = 10_000;

/// Largest body that brings answers to a form, in bytes: a record of them, and what JSON adds.
pub const FORM_BODY_BYTES_MAX: usize = 512 * 1024;

/// Webhooks that a business makes for its events (API-01): each is called of each event that it names.
pub const WEBHOOKS_MAX: usize = 20;

/// Forms of a business whose answers are sent to a URL (FRM-02).
pub const WEBHOOK_FORMS_MAX: usize = 200;

/// Longest URL that a webhook calls, in bytes: as long as a form's destination may be (`records.md` 8.5).
pub const WEBHOOK_URL_BYTES_MAX: usize = 2048;
