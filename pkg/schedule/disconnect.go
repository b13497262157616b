package schedule

import (
	"slices"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/tid"
)

// deletes is the disconnect lane: removals run beside the connects, a bounded
// number at a time, and never two for one controller.
type deletes struct {
	busy  map[tid.TID]struct{}
	queue []removal
	n     int
}

type removal struct {
	id  tid.TID
	req kernel.DisconnectRequest
}

func (d *deletes) has(id tid.TID) bool {
	_, ok := d.busy[id]
	return ok
}

// Disconnect removes the controller that serves id. While it is under way, or a
// connect of id is, a further call does nothing: the owner compares again when it has ended. A connect
// of id that was only handed over is withdrawn.
func (s *Scheduler) Disconnect(id tid.TID, req kernel.DisconnectRequest) {
	if s.Busy(id) {
		return
	}
	if s.next != nil && s.next.TID == id {
		s.withdraw(s.next) // and if that comes too late, its connect goes first
	}
	s.deletes.busy[id] = struct{}{}
	s.deletes.queue = append(s.deletes.queue, removal{id, req})
	s.disconnect()
}

// Recall takes back the disconnect of id, if there is one that has not begun, and says so.
func (s *Scheduler) Recall(id tid.TID) bool {
	n := slices.IndexFunc(s.deletes.queue, func(r removal) bool { return r.id == id })
	if n < 0 {
		return false
	}
	s.deletes.queue = slices.Delete(s.deletes.queue, n, n+1)
	delete(s.deletes.busy, id)
	return true
}

// flies says whether a connect of id was handed to the kernel and has not come back.
func (s *Scheduler) flies(id tid.TID) bool {
	return s.lane != nil && s.lane.TID == id || s.next != nil && s.next.TID == id
}

func (s *Scheduler) disconnect() {
	for s.deletes.n < disconnectWide {
		n := slices.IndexFunc(s.deletes.queue, func(r removal) bool { return !s.flies(r.id) })
		if n < 0 {
			return
		}
		r := s.deletes.queue[n]
		s.deletes.queue = slices.Delete(s.deletes.queue, n, n+1)
		s.deletes.n++
		go func() {
			err := s.opts.Kernel.Disconnect(s.ctx, r.req)
			s.opts.Post(func() {
				s.deletes.n--
				delete(s.deletes.busy, r.id)
				if s.opts.Freed != nil {
					s.opts.Freed(r.id, err)
				}
				s.disconnect()
				s.connect()
			})
		}()
	}
}
