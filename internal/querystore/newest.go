package querystore

// newestRecords knows the newest records of a segment. A record's time comes from a client's
// clock, so a few are days or years ahead of their neighbours. They must not keep the whole
// segment, and all after it, until their time has come: they are added anew instead, and this is
// where they are found.
type newestRecords struct {
	list  []datedRecord // all whose time is above floor, and some others
	floor int64         // no record outside the list is newer
}

type datedRecord struct {
	addr uint64
	time int64
}

// maxNewest is how many records of a segment can be added anew (8 KiB of memory a segment).
const maxNewest = 512

func (n *newestRecords) note(addr uint64, time int64) {
	if time <= n.floor {
		return
	}
	if len(n.list) == 2*maxNewest {
		n.trim()
	}
	n.list = append(n.list, datedRecord{addr, time})
}

// trim keeps the newest maxNewest of the list.
func (n *newestRecords) trim() {
	if len(n.list) <= maxNewest {
		return
	}
	selectNewest(n.list, maxNewest)
	for _, r := range n.list[maxNewest:] {
		n.floor = max(n.floor, r.time)
	}
	n.list = n.list[:maxNewest]
}

// selectNewest puts the k newest of a list first (Hoare's selection).
func selectNewest(list []datedRecord, k int) {
	for lo, hi := 0, len(list)-1; lo < hi; {
		pivot := list[lo+(hi-lo)/2].time
		i, j := lo, hi
		for i <= j {
			for list[i].time > pivot {
				i++
			}
			for list[j].time < pivot {
				j--
			}
			if i <= j {
				list[i], list[j] = list[j], list[i]
				i++
				j--
			}
		}
		switch {
		case k <= j:
			hi = j
		case k >= i:
			lo = i
		default:
			return
		}
	}
}

// from counts the records that are not before the given time; all is false where there may be more
// than the list holds.
func (n *newestRecords) from(before int64) (count int, all bool) {
	if n.floor >= before {
		return len(n.list), false
	}
	for i := range n.list {
		if n.list[i].time >= before {
			count++
		}
	}
	return count, true
}

// newest is the time of the newest record, minTime if there is none.
func (n *newestRecords) newest() int64 {
	newest := n.floor
	for i := range n.list {
		newest = max(newest, n.list[i].time)
	}
	return newest
}
