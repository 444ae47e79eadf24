//! The end of a request as evidence.

use crate::evidence::metering::Outcome;
use crate::evidence::routes::Cause;
use crate::proxy::blame::Blame;
use crate::proxy::kind::Kind;

impl Outcome {
    pub(crate) fn of_end(kind: Kind, blame: Blame) -> Outcome {
        if blame.is_charged() { Outcome::Bad(cause(kind)) } else { Outcome::Neither }
    }

    pub(crate) fn of_answer(blame: Option<Blame>, grpc: bool) -> Outcome {
        match blame {
            None => Outcome::Good,
            Some(Blame::Client) => Outcome::ClientError,
            Some(Blame::Endpoint | Blame::Release) => Outcome::Bad(if grpc { Cause::Grpc } else { Cause::Status }),
            Some(Blame::Proxy | Blame::Nobody) => Outcome::Neither,
        }
    }
}

pub(crate) fn cause(kind: Kind) -> Cause {
    match kind {
        Kind::UpstreamClosed | Kind::BadAnswer => Cause::Broken,
        Kind::ResponseTimeout => Cause::Timeout,
        Kind::BodyTimeout => Cause::Cut,
        _ => Cause::Connect,
    }
}
