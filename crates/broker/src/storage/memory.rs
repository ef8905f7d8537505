//! Storage that ends with the process: batches stay as they came, in buffers that many of them share, shared by the replicas that have them.
//!
//! A segment's buffers double up to 32 MiB. Those are large enough for any allocator to give them back to the system as soon as nobody has a batch of
//! them any more; a buffer for each batch would leave the process as large as it ever was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};

use super::{FileEntry, LogFolder, Place, Segment, Storage, StorageError};
use crate::catalogue::{Catalogue, CatalogueChange};
use crate::notice::Teller;

/// Keeps everything in memory. For tests, simulations and brokers without a data directory.
#[derive(Debug, Default)]
pub struct Memory;

/// The same with a limit: what leaders were given takes at most so many bytes, and more is refused as by a full disk. What followers copy is shared
/// with their leaders, so it does not count.
///
/// ```
/// use milena_broker::{BoundedMemory, Cluster, ClusterConfig, Moment, Node, NodeId};
///
/// let config = ClusterConfig::with_node(Node { id: NodeId(1), host: "localhost".into(), port: 9092 });
/// let cluster = Cluster::open(config, Box::new(BoundedMemory::of_bytes(64 << 20)), Moment::default())?;
/// # Ok::<(), milena_broker::OpenError>(())
/// ```
#[derive(Debug)]
pub struct BoundedMemory(Arc<Room>);

impl BoundedMemory {
    /// With room for so many bytes of batches.
    pub fn of_bytes(bytes_max: u64) -> BoundedMemory {
        BoundedMemory(Arc::new(Room { bytes_max, held: AtomicU64::new(0), teller: None }))
    }

    /// The same, and what is refused is told.
    pub(crate) fn telling(bytes_max: u64, teller: Teller) -> BoundedMemory {
        BoundedMemory(Arc::new(Room { bytes_max, held: AtomicU64::new(0), teller: Some(teller) }))
    }
}

/// What all segments of a storage have in common: how much they may hold.
#[derive(Debug)]
struct Room {
    bytes_max: u64,
    held: AtomicU64,
    teller: Option<Teller>,
}

impl Room {
    /// The cluster's thread and one that compacts take at the same time.
    fn take(&self, bytes: u64) -> Result<(), StorageError> {
        let fits = |held: u64| held.checked_add(bytes).filter(|held| *held <= self.bytes_max);
        match self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(_) => {
                let full = StorageError::MemoryFull { bytes_max: self.bytes_max };
                if let Some(teller) = &self.teller {
                    teller.tell_failure(&full);
                }
                Err(full)
            }
        }
    }
}

/// What one segment holds of it. Dropping it gives that back.
#[derive(Debug, Default)]
struct Charge {
    /// None: nobody counts.
    room: Option<Arc<Room>>,
    bytes: u64,
}

impl Charge {
    fn take(&mut self, bytes: u64) -> Result<(), StorageError> {
        if let Some(room) = &self.room {
            room.take(bytes)?;
            self.bytes += bytes;
        }
        Ok(())
    }

    /// The segment is no longer than this now.
    fn cut_to(&mut self, len: u64) {
        let over = self.bytes.saturating_sub(len);
        if let Some(room) = &self.room {
            room.held.fetch_sub(over, Ordering::Relaxed);
        }
        self.bytes -= over;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.cut_to(0);
    }
}

impl Storage for Memory {
    fn load_catalogue(&mut self) -> Result<Option<Catalogue>, StorageError> {
        Ok(None)
    }

    fn save_catalogue(&mut self, _catalogue: &Catalogue) -> Result<(), StorageError> {
        Ok(())
    }

    fn save_changes(&mut self, _changes: &[CatalogueChange]) -> Result<bool, StorageError> {
        Ok(true)
    }

    fn create_log(&mut self, _of: Place<'_>) -> Result<Box<dyn LogFolder>, StorageError> {
        Ok(Box::new(MemoryFolder::default()))
    }

    fn open_log(&mut self, of: Place<'_>) -> Result<Box<dyn LogFolder>, StorageError> {
        self.create_log(of)
    }

    fn remove_log(&mut self, _of: Place<'_>) -> Result<(), StorageError> {
        Ok(())
    }
}

impl Storage for BoundedMemory {
    fn load_catalogue(&mut self) -> Result<Option<Catalogue>, StorageError> {
        Memory.load_catalogue()
    }

    fn save_catalogue(&mut self, catalogue: &Catalogue) -> Result<(), StorageError> {
        Memory.save_catalogue(catalogue)
    }

    fn save_changes(&mut self, changes: &[CatalogueChange]) -> Result<bool, StorageError> {
        Memory.save_changes(changes)
    }

    fn create_log(&mut self, _of: Place<'_>) -> Result<Box<dyn LogFolder>, StorageError> {
        Ok(Box::new(MemoryFolder { room: Some(Arc::clone(&self.0)), ..MemoryFolder::default() }))
    }

    fn open_log(&mut self, of: Place<'_>) -> Result<Box<dyn LogFolder>, StorageError> {
        self.create_log(of)
    }

    fn remove_log(&mut self, of: Place<'_>) -> Result<(), StorageError> {
        Memory.remove_log(of)
    }
}

/// Small files only: segments are held by whoever made them, and end with that.
#[derive(Debug, Default)]
struct MemoryFolder {
    files: BTreeMap<String, Bytes>,
    /// None: as much as the machine has.
    room: Option<Arc<Room>>,
}

impl MemoryFolder {
    fn segment(&self) -> Box<dyn Segment> {
        let charge = Charge { room: self.room.clone(), bytes: 0 };
        Box::new(MemorySegment { charge, ..MemorySegment::default() })
    }
}

impl LogFolder for MemoryFolder {
    fn is_lasting(&self) -> bool {
        false
    }

    fn list(&self) -> Result<Vec<FileEntry>, StorageError> {
        let entry = |(name, content): (&String, &Bytes)| FileEntry { name: name.clone(), bytes: content.len() as u64 };
        Ok(self.files.iter().map(entry).collect())
    }

    fn create(&mut self, _name: &str) -> Result<Box<dyn Segment>, StorageError> {
        Ok(self.segment())
    }

    fn open(&self, _name: &str) -> Result<Box<dyn Segment>, StorageError> {
        Ok(self.segment())
    }

    fn read(&self, name: &str) -> Result<Option<Bytes>, StorageError> {
        Ok(self.files.get(name).cloned())
    }

    fn replace(&mut self, name: &str, content: &[u8], _durably: bool) -> Result<(), StorageError> {
        self.files.insert(name.to_owned(), Bytes::copy_from_slice(content));
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), StorageError> {
        if let Some(content) = self.files.remove(from) {
            self.files.insert(to.to_owned(), content);
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), StorageError> {
        self.files.remove(name);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        Ok(())
    }
}

/// Batches in a row, each with the position of its first byte.
#[derive(Debug, Default)]
struct MemorySegment {
    /// Shared with threads that read; copied by whoever changes it while they do.
    pieces: Arc<Vec<(u64, Bytes)>>,
    len: u64,
    /// Where the next batches go, as long as there is room.
    buffer: BytesMut,
    /// The size of that buffer; 0 before the first.
    buffer_bytes: usize,
    charge: Charge,
}

impl Segment for MemorySegment {
    fn len(&self) -> u64 {
        self.len
    }

    fn append(&mut self, header: &[u8], records: &Bytes) -> Result<(), StorageError> {
        let size = header.len() + records.len();
        self.charge.take(size as u64)?;
        if self.buffer.capacity() < size {
            self.buffer_bytes = (self.buffer_bytes * 2).clamp(BUFFER_BYTES_MIN, BUFFER_BYTES_MAX).max(size);
            self.buffer = BytesMut::with_capacity(self.buffer_bytes);
        }
        self.buffer.extend_from_slice(header);
        self.buffer.extend_from_slice(records);
        let batch = self.buffer.split().freeze();
        self.append_whole(batch)
    }

    fn append_whole(&mut self, batch: Bytes) -> Result<(), StorageError> {
        let size = batch.len() as u64;
        Arc::make_mut(&mut self.pieces).push((self.len, batch));
        self.len += size;
        Ok(())
    }

    /// One batch is handed out as it is; several are joined by a copy.
    fn read(&self, position: u64, size: usize) -> Result<Bytes, StorageError> {
        let first = self.pieces.partition_point(|(start, _)| *start <= position).saturating_sub(1);
        let Some((start, piece)) = self.pieces.get(first) else {
            return Ok(Bytes::new());
        };
        let skipped = (position - start) as usize;
        if skipped + size <= piece.len() {
            return Ok(piece.slice(skipped..skipped + size));
        }
        let mut joined = BytesMut::with_capacity(size);
        joined.extend_from_slice(&piece[skipped..]);
        for (_, piece) in &self.pieces[first + 1..] {
            let wanted = (size - joined.len()).min(piece.len());
            joined.extend_from_slice(&piece[..wanted]);
            if joined.len() == size {
                break;
            }
        }
        Ok(joined.freeze())
    }

    fn truncate(&mut self, len: u64) -> Result<(), StorageError> {
        let pieces = Arc::make_mut(&mut self.pieces);
        pieces.retain(|(start, _)| *start < len);
        if let Some((start, piece)) = pieces.last_mut() {
            piece.truncate((len - *start) as usize);
        }
        self.len = self.len.min(len);
        self.charge.cut_to(self.len);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    fn shared(&self) -> Option<Box<dyn Segment>> {
        // Whoever reads needs no room of its own.
        Some(Box::new(MemorySegment { pieces: Arc::clone(&self.pieces), len: self.len, ..MemorySegment::default() }))
    }
}

/// So that a topic with a few records stays small.
const BUFFER_BYTES_MIN: usize = 1_024;
/// What glibc never takes from its heap (`M_MMAP_THRESHOLD`), where it would stay.
const BUFFER_BYTES_MAX: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> MemorySegment {
        let mut segment = MemorySegment::default();
        for (header, records) in [("ab", "cd"), ("ef", "g"), ("hi", "jkl")] {
            segment.append(header.as_bytes(), &Bytes::from_static(records.as_bytes())).expect("memory takes all");
        }
        segment
    }

    #[test]
    fn any_range_reads_as_one_row_of_bytes() {
        let segment = segment();
        let whole = b"abcdefghijkl";
        for from in 0..whole.len() {
            for to in from..=whole.len() {
                let read = segment.read(from as u64, to - from).expect("memory reads");
                assert_eq!(read, &whole[from..to]);
            }
        }
    }

    #[test]
    fn truncated_segment_goes_on_from_the_cut() {
        let mut segment = segment();
        segment.truncate(6).expect("memory truncates");
        segment.append(b"XY", &Bytes::new()).expect("memory takes all");
        assert_eq!(segment.len(), 8);
        assert_eq!(segment.read(0, 8).expect("memory reads"), &b"abcdefXY"[..]);
    }

    #[test]
    fn room_is_taken_by_what_is_appended_and_given_back_by_cuts_and_ends() {
        let memory = BoundedMemory::of_bytes(10);
        let folder = MemoryFolder { room: Some(Arc::clone(&memory.0)), ..MemoryFolder::default() };
        let (mut one, mut other) = (folder.segment(), folder.segment());
        let seven = Bytes::from_static(b"1234567");
        one.append(b"", &seven).expect("there is room");
        // A copy of another replica's is shared, and no reader takes room.
        other.append_whole(one.read(0, 7).expect("memory reads")).expect("it takes none");
        let reader = one.shared().expect("memory is shared");
        assert!(matches!(other.append(b"", &seven), Err(StorageError::MemoryFull { bytes_max: 10 })));
        assert_eq!((other.len(), memory.0.held.load(Ordering::Relaxed)), (7, 7));
        one.truncate(4).expect("memory truncates");
        assert!(other.append(b"abc", &Bytes::new()).is_ok());
        assert_eq!(memory.0.held.load(Ordering::Relaxed), 7);
        drop((one, reader));
        assert_eq!(memory.0.held.load(Ordering::Relaxed), 3);
        drop(other);
        assert_eq!(memory.0.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn buffers_are_shared_by_batches_and_grow_to_what_the_system_gets_back() {
        let mut segment = MemorySegment::default();
        let records = Bytes::from(vec![7; 500]);
        let mut seen = Vec::new();
        while segment.len() < 3 * BUFFER_BYTES_MAX as u64 {
            segment.append(b"header", &records).expect("memory takes all");
            if seen.last() != Some(&segment.buffer_bytes) {
                seen.push(segment.buffer_bytes);
            }
        }
        assert_eq!((seen.len(), seen[0], seen[15]), (16, BUFFER_BYTES_MIN, BUFFER_BYTES_MAX));
        let large = Bytes::from(vec![7; BUFFER_BYTES_MAX + 1]);
        segment.append(b"header", &large).expect("memory takes all");
        assert_eq!(segment.read(segment.len() - 3, 3).expect("memory reads"), &[7, 7, 7][..]);
    }
}
