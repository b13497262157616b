package mdns

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func key(n int) instance {
	return instance{ifindex: int32(n%3 + 1), proto: int32(n % 2), name: fmt.Sprint("dc", n), typ: TypeTCP, domain: domain}
}

// service of a key: some share an address and an interface, as instances of one host do. All
// interfaces have the same name, as after renaming.
func service(n, version int) Service {
	return Service{Transport: "tcp", Traddr: fmt.Sprintf("10.0.%d.%d", version, n/2), Trsvcid: "8009",
		Interface: "eth0", IfIndex: n%3 + 1, Name: fmt.Sprint("dc", n), Type: TypeTCP, Domain: domain}
}

// The set against a slow model, under every order of events. What it must never do is lose
// a service that nobody withdrew.
func TestSetModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type known struct {
			seen, resolved int
			svc            Service
		}
		const limit = 8
		s, model, epoch, refused := newSet(limit), map[instance]known{}, 0, 0
		number := rapid.IntRange(0, 11)
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) { s.begin(); epoch++ },
			"add": func(t *rapid.T) {
				if epoch == 0 {
					t.Skip("no source")
				}
				in := key(number.Draw(t, "n"))
				k, had := model[in]
				room := had || len(model) < limit
				if got := s.add(in); got != room {
					t.Fatalf("add: %v", got)
				}
				if room {
					k.seen = epoch
					model[in] = k
				} else {
					refused = epoch
				}
			},
			"remove": func(t *rapid.T) {
				in := key(number.Draw(t, "n"))
				s.remove(in)
				delete(model, in)
			},
			"resolve": func(t *rapid.T) {
				n := number.Draw(t, "n")
				svc := service(n, rapid.IntRange(0, 2).Draw(t, "version"))
				k, had := model[key(n)]
				if got := s.resolve(key(n), svc); got != (had && k.seen == epoch) {
					t.Fatalf("resolve: %v", got)
				} else if got {
					k.svc, k.resolved = svc, epoch
					model[key(n)] = k
				}
			},
			"settle": func(t *rapid.T) {
				if epoch == 0 {
					t.Skip("no source")
				}
				for _, in := range s.settle() {
					if k, had := model[in]; !had || k.seen == epoch {
						t.Fatalf("settle removed %v", in)
					}
					delete(model, in)
				}
				for in, k := range model {
					if k.seen != epoch {
						t.Fatalf("settle left %v", in)
					}
				}
			},
			"": func(t *rapid.T) {
				if len(s.entries) != len(model) || s.full() != (refused == epoch && epoch > 0) {
					t.Fatalf("%d entries, want %d; full %v", len(s.entries), len(model), s.full())
				}
				for _, live := range []bool{true, false} {
					want := map[Service]bool{} // identity -> stale
					for _, k := range model {
						if k.resolved == 0 {
							continue
						}
						id := k.svc
						id.Name, id.Interface = "", ""
						stale := !live || k.seen != epoch || k.resolved != epoch
						if old, had := want[id]; !had || old {
							want[id] = stale
						}
					}
					got := map[Service]bool{}
					list := s.services(live)
					for i, svc := range list {
						id := svc
						id.Name, id.Interface, id.Stale = "", "", false
						got[id] = svc.Stale
						if i > 0 && compareIdentity(list[i-1], svc) >= 0 {
							t.Fatalf("not sorted, or twice: %v", list)
						}
					}
					if d := cmp.Diff(want, got); d != "" || len(list) != len(want) {
						t.Fatalf("live %v: %s", live, d)
					}
				}
			},
		})
	})
}

func TestSharedAddresses(t *testing.T) {
	on := func(addr, name string, index int) Service {
		return Service{Transport: "tcp", Traddr: addr, Trsvcid: "8009", Interface: name, IfIndex: index}
	}
	got := sharedAddresses([]Service{
		on("10.0.0.1", "eth1", 3), on("10.0.0.1", "eth0", 2), on("10.0.0.1", "eth0", 2), on("10.0.0.2", "eth0", 2),
		on("fe80::1%eth0", "eth0", 2), on("fe80::1%eth1", "eth1", 3), on("169.254.0.1", "eth0", 2), on("169.254.0.1", "eth1", 3),
	})
	want := []string{"address 10.0.0.1 is announced on several interfaces: eth0 (2), eth1 (3)"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// Every lookup that was wanted runs, one at a time for each announcement, and runs again when
// it was wanted while it ran.
func TestQueueModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const shortest, longest = time.Second, 8 * time.Second
		q, now := newQueue(shortest, longest), time.Unix(0, 0)
		wanted, running, forgotten := map[instance]bool{}, map[instance]bool{}, map[instance]bool{}
		number := rapid.IntRange(0, 4)
		take := func() {
			for {
				in, _, ok := q.next(now)
				if !ok {
					return
				}
				if running[in] {
					t.Fatalf("%v runs twice", in)
				}
				running[in] = true
				delete(wanted, in)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"want": func(t *rapid.T) {
				in := key(number.Draw(t, "n"))
				q.want(in, now)
				wanted[in] = true
				delete(forgotten, in)
				if !running[in] {
					take()
				}
			},
			"forget": func(t *rapid.T) {
				in := key(number.Draw(t, "n"))
				q.forget(in)
				delete(wanted, in)
				forgotten[in] = true
			},
			"done": func(t *rapid.T) {
				in := key(number.Draw(t, "n"))
				if !running[in] {
					t.Skip("not running")
				}
				ok := rapid.Bool().Draw(t, "ok")
				delete(running, in)
				q.done(in, ok, now)
				if !ok && !forgotten[in] && !wanted[in] {
					wanted[in] = true // comes again by itself
				} else {
					take()
				}
			},
			"wait": func(t *rapid.T) {
				now = now.Add(rapid.Custom(func(t *rapid.T) time.Duration {
					return time.Duration(rapid.Int64Range(1, int64(20*time.Second)).Draw(t, "d"))
				}).Draw(t, "d"))
				take()
			},
			"": func(t *rapid.T) {
				if q.running != len(running) {
					t.Fatalf("%d running, want %d", q.running, len(running))
				}
				waiting := 0
				for in := range wanted {
					if !running[in] {
						waiting++
					}
				}
				if len(q.order) != waiting {
					t.Fatalf("%d wait, want %d", len(q.order), waiting)
				}
				if due, ok := q.due(); ok && due.Sub(now) > longest*6/5 {
					t.Fatalf("next one in %v", due.Sub(now))
				}
			},
		})
	})
}

func TestPause(t *testing.T) {
	for fails, want := range map[int]time.Duration{1: 1, 2: 2, 3: 4, 4: 8, 5: 10, 6: 10, 1000000: 10} {
		want *= time.Second
		for range 50 {
			if d := pause(fails, time.Second, 10*time.Second); d < want*8/10 || d > want*12/10 {
				t.Errorf("after %d failures %v, want about %v", fails, d, want)
			}
		}
	}
}
