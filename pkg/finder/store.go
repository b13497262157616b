package finder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// stateVersion is the layout of the state files. Files of another one are ignored.
const stateVersion = 1

// maxState bounds a state file: the largest page has 65 535 entries of some 600 bytes of JSON.
const maxState = 64 << 20

// Store keeps what is known of each discovery controller in a file of its own, so that
// a change costs as much as it changes. It is a cache: files that are damaged are ignored with a
// warning, and one that could not be replaced before the end of the daemon proves no absence: others may have been
// told of more. They hold no secret and are readable by root only. A nil Store keeps nothing.
type Store struct {
	dir string
	log *slog.Logger

	mu      sync.Mutex
	pending map[string]*remembered // latest state by key, nil to delete
	kick    chan struct{}
	done    chan struct{}
}

// remembered is what a state file holds.
type remembered struct {
	Version     int
	Key         string
	TID         tid.TID
	Host        tid.Host
	Sources     []Source
	Disposition disposition
	Complete    bool
	Stale       bool `json:",omitempty"`
	Revision    uint64
	GenCtr      uint64
	ReadAt      int64 // Unix time in milliseconds
	Dropped     uint32
	Entries     []nvme.DiscoveryEntry
}

// OpenStore gives a Store in dir, which it makes if need be. [Store.Close] waits until everything is written.
func OpenStore(dir string, log *slog.Logger) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot keep state: %w", err)
	}
	s := &Store{dir: dir, log: log, pending: map[string]*remembered{}, kick: make(chan struct{}, 1), done: make(chan struct{})}
	go s.run()
	return s, nil
}

// Close writes what is pending and ends the Store.
func (s *Store) Close() {
	if s != nil {
		close(s.kick)
		<-s.done
	}
}

// Save has r written soon; a later Save or Delete of the same controller overtakes it.
func (s *Store) save(r *remembered) { s.put(r.Key, r) }

// Delete has the state of the controller called key removed.
func (s *Store) Delete(key string) { s.put(key, nil) }

func (s *Store) put(key string, r *remembered) {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.pending[key] = r
	if r != nil {
		s.outdate(key)
	}
	s.mu.Unlock()
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

func (s *Store) run() {
	defer close(s.done)
	for range s.kick {
		s.flush()
	}
	s.flush()
}

func (s *Store) flush() {
	s.mu.Lock()
	work := s.pending
	s.pending = map[string]*remembered{}
	s.mu.Unlock()
	for key, r := range work {
		if err := s.write(key, r); err != nil {
			s.log.Warn("cannot keep what is known of a discovery controller; a restart would have to ask it again", "error", err)
		}
	}
}

// The ends of the names of state files: of one that holds what was known last, of one that is about to be replaced, and of one
// that is still being written, which nobody reads.
const (
	stateFile    = ".json"
	outdatedFile = ".json.old"
	freshFile    = ".json.new"
)

func (s *Store) path(key string) string { return filepath.Join(s.dir, key+stateFile) }

func (s *Store) outdatedPath(key string) string { return filepath.Join(s.dir, key+outdatedFile) }

// outdate has the present file of a controller count as what was known once. It takes neither time nor room, which
// writing another one does.
func (s *Store) outdate(key string) { _ = os.Rename(s.path(key), s.outdatedPath(key)) }

func (s *Store) write(key string, r *remembered) error {
	if r == nil {
		return errors.Join(remove(s.path(key)), remove(s.outdatedPath(key)))
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fresh := filepath.Join(s.dir, key+freshFile)
	if err := os.WriteFile(fresh, b, 0o600); err != nil {
		return errors.Join(err, remove(fresh))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending[key] != nil { // there is something newer already: at no moment may this count as the last
		return os.Rename(fresh, s.outdatedPath(key))
	}
	return errors.Join(os.Rename(fresh, s.path(key)), remove(s.outdatedPath(key)))
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// load reads all state files.
func (s *Store) load() []*remembered {
	if s == nil {
		return nil
	}
	files, err := os.ReadDir(s.dir)
	if err != nil {
		s.log.Warn("cannot read what an earlier run knew", "error", err)
		return nil
	}
	var all []*remembered
	loaded := map[string]bool{}
	for _, file := range files { // in the order of names: the present file of a controller comes before the outdated one
		key, old := strings.CutSuffix(file.Name(), outdatedFile)
		key, present := strings.CutSuffix(key, stateFile)
		if !old && !present || strings.HasPrefix(key, ".") || loaded[key] {
			continue
		}
		path := filepath.Join(s.dir, file.Name())
		r, err := s.read(key, path)
		if err != nil {
			s.log.Warn("ignoring a state file that cannot be used", "file", path, "error", err)
			continue
		}
		loaded[key] = true
		r.Stale = r.Stale || old
		all = append(all, r)
	}
	return all
}

func (s *Store) read(key, path string) (*remembered, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxState {
		return nil, fmt.Errorf("%d bytes are more than a state file may have", info.Size())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return decodeState(key, b)
}

func decodeState(key string, b []byte) (*remembered, error) {
	r := new(remembered)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, err
	}
	if r.Version != stateVersion {
		return nil, fmt.Errorf("version %d is not %d", r.Version, stateVersion)
	}
	if len(r.Entries) > nvme.MaxRecords || r.Disposition > forgotten || len(r.Sources) == 0 {
		return nil, errors.New("content out of range")
	}
	for _, src := range r.Sources {
		if src.Origin > Referred {
			return nil, errors.New("content out of range")
		}
	}
	t, err := tid.New(tid.Discovery, r.TID)
	if err != nil {
		return nil, err
	}
	if t != r.TID || r.Key != key {
		return nil, errors.New("it is not about the controller that its name says")
	}
	return r, nil
}

// save keeps what is known of d.
func (f *Finder) save(d *dc) {
	if f.opts.Store == nil {
		return
	}
	d.saved = true
	r := &remembered{Version: stateVersion, Key: d.key, TID: d.id(), Host: d.want.Host, Sources: d.want.Sources, Disposition: d.disposition}
	if p := d.page; p != nil {
		r.Complete, r.Revision, r.GenCtr, r.ReadAt, r.Entries = true, p.revision, p.genctr, p.readAt.UnixMilli(), p.entries
		r.Dropped, r.Stale = p.dropped, p.stale
	}
	f.opts.Store.save(r)
}
