//! Ranks within one process: several devices, or several engines on one device, a thread each.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Transport, TransportError};

/// How long a rank waits for the others, unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// One rank of a group within this process. Dropping it while others wait ends their waiting with
/// [`TransportError::Gone`].
#[derive(Debug)]
pub struct LocalTransport {
    shared: Arc<Shared>,
    rank: usize,
    size: usize,
    patience: Duration,
}

type Gathered = Result<Vec<Vec<f32>>, TransportError>;

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Number of gathers that ended.
    round: u64,
    /// What the ranks gave for the next.
    given: Vec<Option<Vec<f32>>>,
    /// What the last one gave. It is there until all ranks have come to the next, which they do with it in hand.
    gathered: Gathered,
    /// Why there will be no more.
    broken: Option<TransportError>,
}

impl LocalTransport {
    /// A group of `size` ranks, to be handed to `size` threads.
    pub fn group(size: usize) -> Vec<Self> {
        let state = State { round: 0, given: vec![None; size], gathered: Ok(Vec::new()), broken: None };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        (0..size).map(|rank| Self { shared: shared.clone(), rank, size, patience: PATIENCE }).collect()
    }

    /// The same rank, waiting this long for the others (60 s unless told otherwise). A rank that does not come ends the
    /// group.
    pub fn with_patience(self, patience: Duration) -> Self {
        let mut patient = self;
        patient.patience = patience;
        patient
    }
}

impl Shared {
    /// No rank panics with the lock in its hands, and the state is whole between any two statements.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Ends the round if all have come.
    fn end_round(&mut self) -> bool {
        if self.given.iter().any(Option::is_none) {
            return false;
        }
        let values: Vec<Vec<f32>> = self.given.iter_mut().filter_map(Option::take).collect();
        let lengths: Vec<usize> = values.iter().map(Vec::len).collect();
        let agree = lengths.windows(2).all(|pair| pair[0] == pair[1]);
        self.gathered = if agree { Ok(values) } else { Err(TransportError::Lengths { lengths }) };
        self.round += 1;
        true
    }

    fn missing(&self) -> Vec<usize> {
        self.given.iter().enumerate().filter(|(_, given)| given.is_none()).map(|(rank, _)| rank).collect()
    }
}

impl Transport for LocalTransport {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_gather(&mut self, local: &[f32]) -> Gathered {
        let mut state = self.shared.lock();
        if let Some(error) = &state.broken {
            return Err(error.clone());
        }
        let round = state.round;
        state.given[self.rank] = Some(local.to_vec());
        if state.end_round() {
            self.shared.changed.notify_all();
        }
        let start = Instant::now();
        while state.round == round {
            let left = self.patience.saturating_sub(start.elapsed());
            if left.is_zero() && state.broken.is_none() {
                let seconds = self.patience.as_secs();
                state.broken = Some(TransportError::TimedOut { missing: state.missing(), seconds });
                self.shared.changed.notify_all();
            }
            if let Some(error) = &state.broken {
                return Err(error.clone());
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.gathered.clone()
    }
}

impl Drop for LocalTransport {
    fn drop(&mut self) {
        self.shared.lock().broken.get_or_insert(TransportError::Gone { rank: self.rank });
        self.shared.changed.notify_all();
    }
}
