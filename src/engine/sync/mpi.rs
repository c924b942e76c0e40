//! Ranks on any number of machines, connected by MPI.

use ::mpi::environment::is_finalized;
use ::mpi::topology::{Communicator, SimpleCommunicator};
use ::mpi::traits::CommunicatorCollectives;

use super::{Transport, TransportError};

/// In place of a length: the rank leaves.
const LEAVING: u64 = u64::MAX;

/// A rank of an MPI communicator (Open MPI, MPICH). `mpirun` starts the ranks.
///
/// - A rank that drops its transport, because it returns an error or unwinds from a panic, tells the others, whose next
///   exchange ends in [`TransportError::Gone`]. So dropping is collective too: it waits until each rank exchanges or
///   drops.
/// - A rank that dies (a signal, `abort`) is noticed by `mpirun`, which ends all ranks and returns an error.
#[derive(Debug)]
pub struct MpiTransport {
    communicator: Duplicate,
    rank: usize,
    size: usize,
    /// Why there will be no more exchange.
    broken: Option<TransportError>,
}

/// A communicator of our own, so that no message of the application's is mistaken for ours.
struct Duplicate(SimpleCommunicator);

impl std::fmt::Debug for Duplicate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimpleCommunicator")
    }
}

impl MpiTransport {
    /// A transport over all ranks of `communicator`, each of which calls this. Drop it before the `Universe` that the
    /// communicator came from.
    pub fn new(communicator: &impl Communicator) -> Self {
        let communicator = Duplicate(communicator.duplicate());
        let [rank, size] = [communicator.0.rank(), communicator.0.size()].map(|n| usize::try_from(n).unwrap_or(0));
        Self { communicator, rank, size, broken: None }
    }

    /// Tells the others the length of what this rank gives, or that it leaves.
    fn announce(&mut self, length: u64) -> Result<Vec<u64>, TransportError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let mut lengths = vec![0; self.size];
        self.communicator.0.all_gather_into(&length, &mut lengths[..]);
        match lengths.iter().position(|&length| length == LEAVING) {
            Some(rank) => Err(self.broken.insert(TransportError::Gone { rank }).clone()),
            None => Ok(lengths),
        }
    }
}

impl Transport for MpiTransport {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_gather(&mut self, local: &[f32]) -> Result<Vec<Vec<f32>>, TransportError> {
        let lengths = self.announce(local.len() as u64)?;
        if lengths.iter().any(|&length| length != local.len() as u64) {
            let lengths = lengths.into_iter().map(|length| length as usize).collect();
            return Err(TransportError::Lengths { lengths });
        }
        if local.is_empty() {
            return Ok(vec![Vec::new(); self.size]);
        }
        // MPI counts in i32
        let Some(total) = local.len().checked_mul(self.size).filter(|&total| i32::try_from(total).is_ok()) else {
            let message = format!("{} values of each of {} ranks are too many for MPI", local.len(), self.size);
            return Err(TransportError::Failed { message });
        };
        let mut gathered = vec![0.0f32; total];
        self.communicator.0.all_gather_into(local, &mut gathered[..]);
        Ok(gathered.chunks(local.len()).map(<[f32]>::to_vec).collect())
    }
}

impl Drop for MpiTransport {
    fn drop(&mut self) {
        if !is_finalized() {
            // a group that is broken already knows
            drop(self.announce(LEAVING));
        }
    }
}
