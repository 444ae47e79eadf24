//! The end of a request as evidence.

use crate::evidence::routes::Cause;
use crate::evidence::trial::Outcome;
use crate::proxy::blame::Blame;
use crate::proxy::error_kind::ErrorKind;

impl Outcome {
    pub(crate) fn of_end(kind: ErrorKind, blame: Blame) -> Outcome {
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

pub(crate) fn cause(kind: ErrorKind) -> Cause {
    match kind {
        ErrorKind::UpstreamClosed | ErrorKind::BadAnswer => Cause::Broken,
        ErrorKind::ResponseTimeout => Cause::Timeout,
        ErrorKind::BodyTimeout => Cause::Cut,
        _ => Cause::Connect,
    }
}
