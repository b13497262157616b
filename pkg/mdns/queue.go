package mdns

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// queue says which announcement to look up when. It does no I/O; the caller brings the time.
type queue struct {
	shortest, longest time.Duration // pause after failures
	jobs              map[instance]*job
	order             jobHeap
	running           int
}

type job struct {
	in      instance
	due     time.Time
	fails   int
	running bool
	again   bool // asked for while running
	index   int  // in the heap, -1 while not there
}

func newQueue(shortest, longest time.Duration) *queue {
	return &queue{shortest: shortest, longest: longest, jobs: make(map[instance]*job)}
}

// want asks for a lookup now, also where one failed and waits.
func (q *queue) want(in instance, now time.Time) {
	j := q.jobs[in]
	if j == nil {
		j = &job{in: in, index: -1}
		q.jobs[in] = j
	}
	switch {
	case j.running:
		j.again = true
	case j.index >= 0:
		if now.Before(j.due) {
			j.due = now
			heap.Fix(&q.order, j.index)
		}
	default:
		j.due = now
		heap.Push(&q.order, j)
	}
}

// forget drops what is not running; the outcome of a running lookup is the caller's to ignore.
func (q *queue) forget(in instance) {
	j := q.jobs[in]
	if j == nil {
		return
	}
	if j.index >= 0 {
		heap.Remove(&q.order, j.index)
	}
	if j.running {
		j.again = false
		j.fails = -1
		return
	}
	delete(q.jobs, in)
}

// next takes the first lookup that is due; fails is how often it has failed in a row.
func (q *queue) next(now time.Time) (in instance, fails int, ok bool) {
	if len(q.order) == 0 || now.Before(q.order[0].due) {
		return instance{}, 0, false
	}
	j := heap.Pop(&q.order).(*job)
	j.running = true
	q.running++
	return j.in, j.fails, true
}

// done ends a running lookup. One that failed comes again after a pause. It returns the
// number of failures in a row.
func (q *queue) done(in instance, ok bool, now time.Time) int {
	j := q.jobs[in]
	if j == nil || !j.running {
		return 0
	}
	j.running = false
	q.running--
	forgotten := j.fails < 0
	if forgotten || ok {
		j.fails = 0
	} else {
		j.fails++
	}
	switch {
	case j.again:
		j.again = false
		j.due = now
	case forgotten || ok:
		delete(q.jobs, in)
		return 0
	default:
		j.due = now.Add(pause(j.fails, q.shortest, q.longest))
	}
	heap.Push(&q.order, j)
	return j.fails
}

// due is when next has something; false when nothing waits.
func (q *queue) due() (time.Time, bool) {
	if len(q.order) == 0 {
		return time.Time{}, false
	}
	return q.order[0].due, true
}

// pause is the wait after the given number of failures in a row, from shortest doubling to
// longest, plus or minus a fifth.
func pause(fails int, shortest, longest time.Duration) time.Duration {
	d := shortest
	for range fails - 1 {
		if d >= longest/2 {
			d = longest
			break
		}
		d *= 2
	}
	return d*4/5 + rand.N(d*2/5+1)
}

type jobHeap []*job

func (h jobHeap) Len() int           { return len(h) }
func (h jobHeap) Less(i, k int) bool { return h[i].due.Before(h[k].due) }
func (h jobHeap) Swap(i, k int)      { h[i], h[k] = h[k], h[i]; h[i].index, h[k].index = i, k }
func (h *jobHeap) Push(x any) {
	j := x.(*job)
	j.index = len(*h)
	*h = append(*h, j)
}
func (h *jobHeap) Pop() any {
	old := *h
	j := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	j.index = -1
	return j
}
