//! The tree at every small size and at random larger ones; what a proof shows, and that nothing else passes for one.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn entries(n: u64) -> Vec<Entry> {
    (1..=n)
        .map(|sequence| Entry {
            sequence,
            at: UnixMillis(1000 + i64::try_from(sequence).unwrap()),
            incident: IncidentUid::try_from("01890a5d-ac96-774b-bcce-b302099a8057".to_owned()).unwrap(),
            author: "director".into(),
            kind: "test".into(),
            body: json!({"n": sequence}),
        })
        .collect()
}

fn leaves(n: u64) -> Vec<Digest> {
    (0..n).map(|n| Digest::of_bytes(&n.to_be_bytes())).collect()
}

fn head(leaves: &[Digest]) -> Head {
    Head::at(leaves.len() as u64, |subtree| of_leaves(leaves, subtree)).unwrap()
}

fn proof(leaves: &[Digest], first: u64) -> Proof {
    prove(first, leaves.len() as u64, |subtree| of_leaves(leaves, subtree)).unwrap()
}

/// MTH of RFC 9162, 2.1.1, word for word.
fn root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => tree::empty(),
        [one] => one.clone(),
        more => {
            let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
            tree::node(&root(left), &root(right))
        }
    }
}

/// SUBPROOF of RFC 9162, 2.1.4.1, but that the earlier root is never left out.
fn subproof(m: usize, leaves: &[Digest]) -> Vec<Digest> {
    if m == leaves.len() {
        return vec![root(leaves)];
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut proof, sibling) = if m <= left.len() { (subproof(m, left), root(right)) } else { (subproof(m - left.len(), right), root(left)) };
    proof.push(sibling);
    proof
}

#[test]
fn trees_are_those_of_certificate_transparency() {
    // The first leaves and roots of the test vectors that Certificate Transparency's implementations share.
    let vectors = ["", "00", "10", "2021", "3031", "40414243"].map(|text| Digest::of_bytes(&[&[0], hex::decode(text).unwrap().as_slice()].concat()));
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    ];
    assert_eq!(root(&[]).as_str(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (size, expected) in roots.into_iter().enumerate() {
        assert_eq!(root(&vectors[..=size]).as_str(), expected);
    }
    for size in 0..40 {
        let leaves = leaves(size);
        assert_eq!(head(&leaves), Head::over(size, &root(&leaves)));
    }
}

#[test]
fn every_proof_between_small_sizes_is_the_rfcs_and_holds() {
    for size in 1..40 {
        let leaves = leaves(size);
        for first in 0..size {
            let proof = proof(&leaves, first);
            let small = usize::try_from(first).unwrap();
            let expected = if first == 0 { vec![root(&leaves)] } else { subproof(small, &leaves) };
            assert_eq!(proof.digests(), expected, "{first} to {size}");
            assert!(head(&leaves[..small]).extends_to(&head(&leaves), &proof), "{first} to {size}");
        }
    }
}

#[test]
fn appending_completes_subtrees_in_the_order_of_their_index() {
    let leaves = leaves(100);
    let mut frontier = Frontier::default();
    let mut list = Vec::new();
    for leaf in &leaves {
        list.extend(frontier.append(leaf.clone()));
        assert_eq!(list.len() as u64, subtrees(frontier.sequence()));
        let kept = |subtree: Subtree| list.get(usize::try_from(subtree.index()).unwrap() - 1).cloned();
        let size = frontier.sequence();
        assert_eq!(frontier.head(), head(&leaves[..usize::try_from(size).unwrap()]));
        assert_eq!(Frontier::at(size, kept).as_ref(), Some(&frontier));
        for first in 0..=size {
            assert!(wanted(first, size).into_iter().all(|subtree| kept(subtree) == of_leaves(&leaves, subtree)));
        }
    }
}

#[test]
fn the_shape_of_a_proof_is_bounded_whatever_the_sizes() {
    for (first, second) in [(0, u64::MAX), (1, u64::MAX), (u64::MAX - 1, u64::MAX), ((1 << 63) + 1, u64::MAX), (1 << 63, u64::MAX), (1, 2)] {
        let digest = Digest::of_bytes(b"");
        let proof = prove(first, second, |_| Some(digest.clone())).unwrap();
        assert!((1..=MAX_PROOF).contains(&proof.digests().len()), "{first} to {second}");
        assert!(wanted(first, second).len() <= 2 * 64);
    }
    assert_eq!(prove(2, 1, |_| Some(Digest::of_bytes(b""))), None);
    assert_eq!(prove(1, 2, |_| None), None);
}

#[test]
fn longer_than_a_proof_can_be_is_not_read() {
    let text = |n: usize| serde_json::to_string(&vec![Digest::of_bytes(b""); n]).unwrap();
    assert!(serde_json::from_str::<Proof>(&text(MAX_PROOF)).is_ok());
    for n in [MAX_PROOF + 1, 100_000] {
        assert!(serde_json::from_str::<Proof>(&text(n)).unwrap_err().to_string().contains("at most 65 digests"));
    }
    let endless = std::iter::repeat_with(|| Ok(Digest::of_bytes(b"")));
    assert!(Proof::new(endless).is_err());
}

proptest! {
    #[test]
    fn any_edit_loss_or_reorder_is_found(n in 2u64..40, at in 0usize..39, edit in 0u8..3) {
        let whole = entries(n);
        let at = at % whole.len();
        let head = verify(&whole).unwrap();
        let mut changed = whole.clone();
        match edit {
            0 => changed[at].body = json!({"n": "other"}),
            1 => { changed.remove(at); }
            _ => { let other = (at + 1) % whole.len(); changed.swap(at, other); }
        }
        let found = verify(&changed);
        // What is missing or out of order is named.
        if edit == 1 && at + 1 < whole.len() {
            let after = at as u64;
            prop_assert_eq!(found.clone().unwrap_err(), format!("entry {} stands after entry {}", after + 2, after));
        }
        prop_assert!(found.ok() != Some(head));
    }

    #[test]
    fn a_true_proof_holds_and_nothing_else_passes_for_one(n in 1u64..3000, first in 0u64..3000, at in 0usize..65, wrong in 1u64..3000) {
        let leaves = leaves(n);
        let first = first % n;
        let (old, new) = (head(&leaves[..usize::try_from(first).unwrap()]), head(&leaves));
        let proof = proof(&leaves, first);
        prop_assert!(old.extends_to(&new, &proof));
        prop_assert!(new.extends_to(&new, &Proof::default()));
        prop_assert!(!new.extends_to(&old, &proof) && !new.extends_to(&old, &Proof::default()));

        let at = at % proof.digests().len();
        let edited = |edit: &dyn Fn(&mut Vec<Digest>)| {
            let mut digests = proof.digests().to_vec();
            edit(&mut digests);
            (digests != proof.digests()).then(|| Proof::new(digests.into_iter().map(Ok)).unwrap())
        };
        let edits: [Option<Proof>; 6] = [
            edited(&|digests| digests[at] = Digest::of_bytes(b"another")),
            edited(&|digests| drop(digests.remove(at))),
            edited(&|digests| digests.insert(at, digests[at].clone())),
            edited(&|digests| digests.push(Digest::of_bytes(b"more"))),
            edited(&|digests| { let other = (at + 1) % digests.len(); digests.swap(at, other); }),
            edited(&Vec::clear),
        ];
        for edit in edits.into_iter().flatten() {
            prop_assert!(!old.extends_to(&new, &edit));
        }
        for (sequence, which) in [(old.sequence.wrapping_add(wrong), 0), (old.sequence.saturating_sub(wrong), 0), (new.sequence + wrong, 1), (new.sequence.saturating_sub(wrong), 1)] {
            let (mut one, mut other) = (old.clone(), new.clone());
            if which == 0 { one.sequence = sequence } else { other.sequence = sequence }
            if (&one, &other) != (&old, &new) {
                prop_assert!(!one.extends_to(&other, &proof), "{} to {} is no size of this", one.sequence, other.sequence);
            }
        }
    }

    #[test]
    fn a_rewritten_past_can_never_be_proven(n in 2u64..120, first in 1u64..120, at in 0u64..120, grown in 0u64..120) {
        // Whoever rewrote it has every hash of the new tree, and any length to choose from.
        let whole = leaves(n);
        let first = first % n + 1;
        let old = head(&whole[..usize::try_from(first).unwrap()]);
        let mut rewritten = leaves(n + grown);
        rewritten[usize::try_from(at % first).unwrap()] = Digest::of_bytes(b"another past");
        for size in [n, n + grown] {
            let rewritten = &rewritten[..usize::try_from(size).unwrap()];
            let new = head(rewritten);
            for claimed in [0, first / 2, first - 1, first] {
                prop_assert!(!old.extends_to(&new, &proof(rewritten, claimed)));
            }
            prop_assert!(!old.extends_to(&new, &proof(&whole, first)));
        }
    }
}
