//! Descriptors between two processes of this program: a pair of sockets that carries messages and open files.
//!
//! The new process finds its end at standard input, so nothing but that end is inherited.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::sockopt::socket_type;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// The kernel allows 253 per message.
pub(crate) const MOST_DESCRIPTORS: usize = 64;
const MOST_BYTES: usize = 64 << 10;

pub(crate) type Received = (Vec<u8>, Vec<OwnedFd>);

/// Two ends that keep message boundaries. The first never blocks; the second is for the other process.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}

/// The end at standard input, which is empty from then on.
pub(crate) fn at_stdin() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    if socket_type(&stdin)? != SocketType::SEQPACKET {
        return Err(io::Error::other("standard input is no channel to another process"));
    }
    let channel = rustix::io::fcntl_dupfd_cloexec(&stdin, 3)?;
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(channel)
}

pub(crate) fn send(channel: &impl AsFd, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    sendmsg(channel, &[IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// `None`: the other process has ended.
pub(crate) fn receive(channel: &impl AsFd) -> io::Result<Option<Received>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut message = vec![0; MOST_BYTES];
    let read = recvmsg(channel, &mut [IoSliceMut::new(&mut message)], &mut ancillary, RecvFlags::CMSG_CLOEXEC);
    let read = match read {
        Ok(read) => read,
        // The other process ended with an unread message.
        Err(rustix::io::Errno::CONNRESET) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if read.bytes == 0 {
        return Ok(None);
    }
    message.truncate(read.bytes);
    let mut descriptors = Vec::new();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            descriptors.extend(rights);
        }
    }
    Ok(Some((message, descriptors)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};

    #[test]
    fn messages_keep_their_bounds_and_carry_open_files() {
        let (ours, theirs) = pair().expect("a pair");
        let mut file = tempfile::tempfile().expect("a file");
        send(&ours, b"first", &[file.as_fd()]).expect("sent");
        send(&ours, b"second", &[]).expect("sent");
        let (message, mut descriptors) = receive(&theirs).expect("received").expect("a message");
        assert_eq!((message.as_slice(), descriptors.len()), (b"first".as_slice(), 1));
        std::fs::File::from(descriptors.remove(0)).write_all(b"shared").expect("written");
        file.rewind().expect("at the begin");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read");
        assert_eq!(text, "shared");
        assert_eq!(receive(&theirs).expect("received").expect("a message").0, b"second");
        drop(ours);
        assert!(receive(&theirs).expect("received").is_none());
    }
}
