//! Faults on real sockets, before a node that tells what it got and answers every frame with eight bytes.

use super::*;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::{Receiver, Sender as Channel, channel};

/// What the node got on a connection: a whole frame, or the rest that came before its end.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Frame(u64, Vec<u8>),
    End(u64, Vec<u8>),
}

struct Bench {
    proxy: Proxy,
    got: Receiver<Got>,
}

impl Bench {
    fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let proxy = Proxy::before(listener.local_addr().unwrap()).unwrap();
        let (tell, got) = channel();
        std::thread::spawn(move || {
            for (number, stream) in (0..).zip(listener.incoming().map_while(Result::ok)) {
                let tell = tell.clone();
                std::thread::spawn(move || serve(number, &stream, &tell));
            }
        });
        Self { proxy, got }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.proxy.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn got(&self) -> Got {
        self.got.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    /// The only deed, once it is over.
    fn deed(&self) -> (Deed, Ended) {
        loop {
            let deeds = self.proxy.deeds();
            if let [deed] = deeds.as_slice()
                && let Some(end) = deed.end
            {
                return (deed.clone(), end);
            }
            assert!(deeds.len() < 2, "{deeds:?}");
            std::thread::yield_now();
        }
    }
}

fn serve(number: u64, mut stream: &TcpStream, tell: &Channel<Got>) {
    loop {
        let mut frame = Vec::new();
        let mut came = stream.take(4).read_to_end(&mut frame);
        if let Some(length) = frame.first_chunk().map(|length| u32::from_be_bytes(*length)) {
            came = stream.take(u64::from(length)).read_to_end(&mut frame);
            if came.as_ref().is_ok_and(|came| *came == length as usize) {
                let answer = [&8_u32.to_be_bytes(), &frame[8..12], b"well"].concat();
                let _ = tell.send(Got::Frame(number, frame));
                let _ = stream.write_all(&answer);
                continue;
            }
        }
        drop(came);
        let _ = tell.send(Got::End(number, frame));
        return;
    }
}

/// A request of any API but Produce.
fn frame(correlation_id: i32, bytes: usize) -> Vec<u8> {
    let body = [&[0, 3, 0, 7], correlation_id.to_be_bytes().as_slice(), &vec![b'x'; bytes]].concat();
    [(body.len() as u32).to_be_bytes().as_slice(), &body].concat()
}

fn answer(correlation_id: i32) -> Vec<u8> {
    [&8_u32.to_be_bytes(), correlation_id.to_be_bytes().as_slice(), b"well"].concat()
}

fn read_answer(mut stream: &TcpStream) -> Vec<u8> {
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).unwrap();
    answer
}

/// What comes until the connection is closed, in order or not.
fn read_to_end(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => bytes,
    }
}

#[test]
fn without_rules_everything_passes_and_nothing_is_noted() {
    let bench = Bench::new();
    let mut client = bench.connect();
    for id in 0..3 {
        client.write_all(&frame(id, 100_000 * id as usize)).unwrap();
    }
    for id in 0..3 {
        assert_eq!(bench.got(), Got::Frame(0, frame(id, 100_000 * id as usize)));
        assert_eq!(read_answer(&client), answer(id));
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(bench.got(), Got::End(0, vec![]));
    assert_eq!(read_to_end(&client), b"");
    assert!(bench.proxy.deeds().is_empty());
}

#[test]
fn a_lost_answer_is_one_of_an_executed_request() {
    let bench = Bench::new();
    bench.proxy.add(Rule::once(Target::anything(), Fault::LOST_ANSWER));
    let mut client = bench.connect();
    client.write_all(&frame(5, 0)).unwrap();
    assert_eq!(bench.got(), Got::Frame(0, frame(5, 0)));
    assert_eq!(read_to_end(&client), b"");
    let (deed, end) = bench.deed();
    assert_eq!((deed.way, deed.request.correlation_id, deed.passed, deed.length), (Way::Answer, 5, 0, 12));
    assert_eq!(end.ending, Ending::Cut);
    let mut client = bench.connect();
    client.write_all(&frame(6, 0)).unwrap();
    assert_eq!(read_answer(&client), answer(6));
}

#[test]
fn a_request_is_cut_at_every_byte() {
    let whole = frame(9, 4);
    for place in 0..whole.len() {
        let bench = Bench::new();
        bench.proxy.add(Rule::once(Target::anything(), Fault::cut(Way::Request, Bytes::First(place))));
        let mut client = bench.connect();
        client.write_all(&whole).unwrap();
        assert_eq!(bench.got(), Got::End(0, whole[..place].to_vec()));
        assert_eq!(read_to_end(&client), b"");
    }
}

#[test]
fn an_answer_is_cut_at_every_byte() {
    for place in 0..12 {
        let bench = Bench::new();
        bench.proxy.add(Rule::once(Target::anything(), Fault::cut(Way::Answer, Bytes::First(place))));
        let mut client = bench.connect();
        client.write_all(&frame(9, 4)).unwrap();
        assert_eq!(read_to_end(&client), answer(9)[..place]);
    }
}

#[test]
fn a_late_request_comes_after_its_client_gave_up_and_sent_it_again() {
    let bench = Bench::new();
    bench.proxy.add(Rule::once(Target::anything(), Fault::late(Pause::UntilReleased)));
    let mut client = bench.connect();
    client.write_all(&[frame(1, 10), frame(2, 10)].concat()).unwrap();
    while bench.proxy.deeds().is_empty() {
        std::thread::yield_now();
    }
    drop(client);
    let mut again = bench.connect();
    again.write_all(&frame(3, 10)).unwrap();
    assert_eq!(read_answer(&again), answer(3));
    assert_eq!(bench.got(), Got::Frame(1, frame(3, 10)));
    drop(again);
    assert_eq!(bench.got(), Got::End(1, vec![]));
    assert!(!bench.proxy.await_quiet(Duration::ZERO), "a request is still to come");
    bench.proxy.release();
    assert!(bench.proxy.await_quiet(Duration::from_secs(20)));
    assert_eq!(bench.got(), Got::Frame(0, frame(1, 10)));
    assert_eq!(bench.got(), Got::Frame(0, frame(2, 10)));
    assert_eq!(bench.got(), Got::End(0, vec![]));
    let (_, end) = bench.deed();
    assert_eq!((end.ending, end.sender_left), (Ending::Delivered, true));
}

#[test]
fn a_dismissed_client_s_requests_are_delivered_all_the_same() {
    let bench = Bench::new();
    bench.proxy.add(Rule::once(Target::anything(), Fault::late_and_dismissed(Pause::UntilReleased)));
    let mut client = bench.connect();
    client.write_all(&[frame(1, 10), frame(2, 10)].concat()).unwrap();
    assert_eq!(read_to_end(&client), b"");
    drop(client);
    assert!(bench.got.try_recv().is_err());
    bench.proxy.release();
    assert_eq!(bench.got(), Got::Frame(0, frame(1, 10)));
    assert_eq!(bench.got(), Got::Frame(0, frame(2, 10)));
}

#[test]
fn a_frame_frozen_in_the_middle_goes_on_when_released() {
    let bench = Bench::new();
    let fault = Fault::frozen(Way::Answer, Bytes::First(7), Pause::UntilReleased, Sender::Heard);
    bench.proxy.add(Rule::always(Target::anything(), fault));
    let mut client = bench.connect();
    client.write_all(&frame(1, 0)).unwrap();
    let mut part = [0; 7];
    client.read_exact(&mut part).unwrap();
    assert_eq!(part, answer(1)[..7]);
    client.set_nonblocking(true).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    client.set_nonblocking(false).unwrap();
    bench.proxy.release();
    let mut rest = [0; 5];
    client.read_exact(&mut rest).unwrap();
    assert_eq!(rest, answer(1)[7..]);
    client.write_all(&frame(2, 0)).unwrap();
    assert_eq!(read_answer(&client), answer(2), "a rule that was released strikes again");
}

#[test]
fn who_is_heard_can_write_on_and_who_is_not_heard_cannot() {
    // More than the kernel buffers between two sockets.
    const MUCH: usize = 24 << 20;
    for (sender, is_written) in [(Sender::Heard, true), (Sender::Unheard, false)] {
        let bench = Bench::new();
        let fault = Fault::frozen(Way::Request, Bytes::First(0), Pause::UntilReleased, sender);
        bench.proxy.add(Rule::once(Target::anything(), fault));
        let mut client = bench.connect();
        client.write_all(&frame(1, 0)).unwrap();
        while bench.proxy.deeds().is_empty() {
            std::thread::yield_now();
        }
        // What is being read when the hold begins is read to its end.
        client.write_all(&frame(2, 0)).unwrap();
        client.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        assert_eq!(client.write_all(&frame(3, MUCH)).is_ok(), is_written, "{sender:?}");
        if is_written {
            bench.proxy.release();
            assert_eq!([1, 2, 3].map(|_| read_answer(&client)), [1, 2, 3].map(answer));
        } else {
            bench.proxy.cut();
            assert_eq!(bench.got(), Got::End(0, vec![]));
        }
    }
}

#[test]
fn what_is_held_for_all_is_lost_at_the_cut_and_later_answers_pass() {
    let bench = Bench::new();
    let mut client = bench.connect();
    client.write_all(&frame(1, 0)).unwrap();
    assert_eq!(read_answer(&client), answer(1));

    bench.proxy.hold_answers();
    client.write_all(&frame(2, 0)).unwrap();
    while bench.proxy.deeds().is_empty() {
        std::thread::yield_now();
    }
    bench.proxy.cut();
    assert_eq!(read_to_end(&client), b"", "a lost answer came");

    let mut client = bench.connect();
    client.write_all(&frame(3, 0)).unwrap();
    assert_eq!(read_answer(&client), answer(3));
}

#[test]
fn a_pause_ends_by_itself_and_a_held_answer_may_be_lost_then() {
    let bench = Bench::new();
    let pause = Pause::For(Duration::from_millis(50));
    bench.proxy.add(Rule::once(Target::anything(), Fault::silent_then_lost(pause)));
    let mut client = bench.connect();
    client.write_all(&[frame(1, 0), frame(2, 0)].concat()).unwrap();
    assert_eq!(read_to_end(&client), b"");
    assert_eq!([bench.got(), bench.got()], [1, 2].map(|id| Got::Frame(0, frame(id, 0))));
    let (_, end) = bench.deed();
    assert!(end.after >= Duration::from_millis(50), "{end:?}");
}
