package storefront

// arrival is something that reaches the log at a time: a message, or a visitor who comes back.
type arrival struct {
	at     int64
	tie    uint64
	said   *said  // a message, as it is
	back   intent // else what the visitor does
	user   int
	origin *said // the page that the visitor saw; nil: none of ours
}

type intent uint8

const (
	toClick intent = iota + 1
	toBuy
)

func (a *arrival) before(b *arrival) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	return a.tie < b.tie
}

// arrivals is a binary heap by time, then by the order of coming. container/heap would put each
// arrival in memory of its own.
type arrivals []arrival

func (h *arrivals) push(a arrival) {
	list := append(*h, a)
	*h = list
	i := len(list) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !a.before(&list[parent]) {
			break
		}
		list[i] = list[parent]
		i = parent
	}
	list[i] = a
}

// pop takes the first; there must be one.
func (h *arrivals) pop() arrival {
	list := *h
	first, last := list[0], list[len(list)-1]
	list[len(list)-1] = arrival{}
	list = list[:len(list)-1]
	*h = list
	for i := 0; len(list) > 0; {
		child := 2*i + 1
		if child+1 < len(list) && list[child+1].before(&list[child]) {
			child++
		}
		if child >= len(list) || !list[child].before(&last) {
			list[i] = last
			break
		}
		list[i] = list[child]
		i = child
	}
	return first
}
