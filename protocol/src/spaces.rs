//! Spaces: who may see, join, write and decide in one, what a message has to be, and how it is told to those who follow
//! live (network specification, `records.md` 4; `rules.md` SPC, CHN, MSG, RBC-04, INV).
//!
//! Everything here is a function of what is known at the moment: the settings of a space and its channels, and one
//! person's membership. Where that is kept, and who the person is, belongs to the node. Denial is the default.

mod access;
mod engagement;
mod frame;
mod happenings;
mod markup;
mod membership;
mod message;
mod unheard;
mod words;

pub use access::{
    Access, Approval, ChannelRules, ChannelVisibility, JoinRefused, Joining, SpaceRules, Standing, Visibility,
};
pub use engagement::{ACTIVE_DAYS, Activity, member_score, space_score};
pub use frame::{Told, event_frame, event_json};
pub use happenings::{EVENTS, HAPPENINGS, Happening, When, happenings, makes_events};
pub use markup::{UncleanMarkup, check_markup};
pub use membership::{
    ChannelAccess, Invitation, Membership, MembershipError, Permission, Role, RoleRefused, Status, merge_versions,
};
pub use message::{Context, MessageRefused, Speaker, check_message, context_of, text_of};
pub use unheard::{Messages as UnheardMessages, Unheard};
pub use words::{WORDS_MAX, query_words, words};

/// The collection of spaces.
pub const SPACE: &str = "co.kendev.spaces.space";

/// The collection of channels.
pub const CHANNEL: &str = "co.kendev.spaces.channel";

/// The collection of messages.
pub const MESSAGE: &str = "co.kendev.spaces.message";

/// The collection of reactions.
pub const REACTION: &str = "co.kendev.spaces.reaction";

/// The collections that make up what happens in a space, for whoever follows an author.
pub const COLLECTIONS: [&str; 4] = [SPACE, CHANNEL, MESSAGE, REACTION];
