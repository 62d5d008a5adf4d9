//! What goes wrong in one schedule, drawn from its seed before it begins.
//!
//! One of the four seats, or all sidecars, may lie in a schedule, never both: acting on the word of two liars is what two
//! supporters of two principals are there to exclude. Director and executor may be hostile beside them.

use super::random::Random;
use super::votes::{SEATS, Trouble, TroubleKind};

/// How one seat takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attendance {
    Present,
    Absent,
    /// Answers after so many milliseconds.
    Late(i64),
    /// Two processes under one account, as during a rollout; they see different figures.
    Doubled,
}

/// What sidecars say that is not so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SidecarLie {
    /// An innocent service fails. A replayed stream of another day says the same.
    Blames,
    /// All is well.
    Hides,
    /// Once something was done, all is well.
    Praises,
}

/// What people do meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Pause,
    Unpause,
    EditSpec,
    EditLabel,
    Recreate,
    EditBlueprint,
    EditRules,
    EditRoster,
    LoseLedger,
}

#[derive(Clone, Debug)]
pub(crate) struct Faults {
    pub(crate) troubles: Vec<Trouble>,
    pub(crate) liar: Option<usize>,
    pub(crate) sidecars: Option<SidecarLie>,
    pub(crate) hostile_director: bool,
    pub(crate) hostile_executor: bool,
    /// It lets a plan lie until it is too old.
    pub(crate) dawdles: bool,
    pub(crate) attendance: [Attendance; 4],
    /// An honest seat to whose domain every remedy would do harm.
    pub(crate) veto: Option<usize>,
    /// Of a thousand messages and calls.
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// Longest way of a message.
    pub(crate) delay: i64,
    /// Of a thousand steps of a process, after how many it ends.
    pub(crate) crash: u64,
    pub(crate) directors: usize,
    pub(crate) executors: usize,
    /// Of a thousand writes, how many are stored later than they were judged.
    pub(crate) gap: u64,
    /// Clocks against the API server's: gate, directors, executors, seats.
    pub(crate) gate_skew: i64,
    pub(crate) skew: [i64; 4],
    pub(crate) deeds: Vec<(i64, Deed)>,
}

// === impl Faults ===

impl Faults {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let mut faults = Self::none(random);
        if random.chance(100) {
            return faults;
        }
        match random.below(10) {
            0..=3 => faults.liar = Some(random.below(4)),
            4..=5 => faults.sidecars = Some(random.pick(&[SidecarLie::Blames, SidecarLie::Blames, SidecarLie::Hides, SidecarLie::Praises])),
            _ => {}
        }
        faults.hostile_director = random.chance(200);
        faults.hostile_executor = random.chance(250);
        faults.dawdles = faults.hostile_executor && random.chance(200);
        for seat in 0..SEATS.len() {
            faults.attendance[seat] = match random.below(20) {
                0 => Attendance::Absent,
                1 => Attendance::Late(random.between(3_000, 60_000)),
                2 | 3 => Attendance::Doubled,
                _ => Attendance::Present,
            };
        }
        faults.veto = random.chance(60).then(|| random.below(4));
        if random.chance(500) {
            faults.lost = random.pick(&[10, 50, 150]);
            faults.doubled = random.pick(&[0, 50, 200]);
            faults.delay = random.pick(&[500, 3_000, 12_000]);
        }
        if random.chance(400) {
            faults.crash = random.pick(&[10, 40, 120]);
        }
        faults.directors = if random.chance(300) { 2 } else { 1 };
        faults.executors = if random.chance(200) { 2 } else { 1 };
        faults.gap = random.pick(&[0, 300]);
        if random.chance(300) {
            faults.gate_skew = random.between(-6_000, 6_000);
            faults.skew = [(); 4].map(|()| random.between(-4_000, 4_000));
        }
        if random.chance(550) {
            faults.deeds = deeds(random);
        }
        faults
    }

    /// Nothing but the trouble itself.
    pub(crate) fn none(random: &mut Random) -> Self {
        let kind = |random: &mut Random| random.pick(&[TroubleKind::Rollout, TroubleKind::Stalled, TroubleKind::Overload, TroubleKind::Hungry]);
        let mut troubles = vec![Trouble { service: random.below(2), kind: kind(random), stubborn: false }];
        if random.chance(300) {
            troubles.push(Trouble { service: 2, kind: kind(random), stubborn: false });
        }
        Self {
            troubles,
            liar: None,
            sidecars: None,
            hostile_director: false,
            hostile_executor: false,
            dawdles: false,
            attendance: [Attendance::Present; 4],
            veto: None,
            lost: 0,
            doubled: 0,
            delay: 100,
            crash: 0,
            directors: 1,
            executors: 1,
            gap: 0,
            gate_skew: 0,
            skew: [0; 4],
            deeds: Vec::new(),
        }
    }

    /// Whether the incident must end resolved.
    pub(crate) fn is_calm(&self) -> bool {
        let hostile = self.liar.is_some() || self.sidecars.is_some() || self.hostile_director || self.hostile_executor;
        let present = self.attendance.iter().all(|seat| matches!(seat, Attendance::Present | Attendance::Doubled));
        let slow = self.lost > 0 || self.delay > 100 || self.crash > 0;
        let skewed = self.gate_skew != 0 || self.skew != [0; 4];
        !hostile && present && !slow && !skewed && self.veto.is_none() && self.deeds.is_empty() && self.troubles.iter().all(|trouble| !trouble.stubborn)
    }

    /// Whether whoever carries things out and keeps the record can be believed.
    pub(crate) fn is_honest(&self) -> bool {
        !self.hostile_director && !self.hostile_executor
    }
}

fn deeds(random: &mut Random) -> Vec<(i64, Deed)> {
    let all = [
        Deed::Pause,
        Deed::Pause,
        Deed::EditSpec,
        Deed::EditSpec,
        Deed::EditLabel,
        Deed::Recreate,
        Deed::EditBlueprint,
        Deed::EditRules,
        Deed::EditRoster,
        Deed::LoseLedger,
    ];
    let mut deeds: Vec<(i64, Deed)> = (0..=random.below(2)).map(|_| (random.between(0, 45_000), random.pick(&all))).collect();
    let paused: Vec<i64> = deeds.iter().filter(|(_, deed)| *deed == Deed::Pause).map(|(at, _)| *at).collect();
    for at in paused {
        if random.chance(600) {
            deeds.push((at + random.between(500, 60_000), Deed::Unpause));
        }
    }
    deeds
}
