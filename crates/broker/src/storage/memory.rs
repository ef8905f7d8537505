//! Storage that ends with the process: batches stay as they came, one buffer each, shared by the replicas that have it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{FileEntry, LogFolder, Place, Segment, Storage, StorageError};
use crate::catalogue::{Catalogue, CatalogueChange};

/// Keeps everything in memory. For tests, simulations and brokers without a data directory.
#[derive(Debug, Default)]
pub struct Memory;

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

/// Small files only: segments are held by whoever made them, and end with that.
#[derive(Debug, Default)]
struct MemoryFolder {
    files: BTreeMap<String, Bytes>,
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
        Ok(Box::new(MemorySegment::default()))
    }

    fn open(&self, _name: &str) -> Result<Box<dyn Segment>, StorageError> {
        Ok(Box::new(MemorySegment::default()))
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
#[derive(Clone, Debug, Default)]
struct MemorySegment {
    /// Shared with threads that read; copied by whoever changes it while they do.
    pieces: Arc<Vec<(u64, Bytes)>>,
    len: u64,
}

impl Segment for MemorySegment {
    fn len(&self) -> u64 {
        self.len
    }

    fn append(&mut self, header: &[u8], records: &Bytes) -> Result<(), StorageError> {
        let mut batch = BytesMut::with_capacity(header.len() + records.len());
        batch.extend_from_slice(header);
        batch.extend_from_slice(records);
        self.append_whole(batch.freeze())
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
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    fn shared(&self) -> Option<Box<dyn Segment>> {
        Some(Box::new(self.clone()))
    }
}

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
}
