package fabricsim

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Request is what is asked of a running fabric: one line of JSON on a connection to
// its control socket.
type Request struct {
	Op   string            `json:"op"` // such as "zone add"; see Operations
	Args []string          `json:"args,omitempty"`
	Set  map[string]string `json:"set,omitempty"` // keys as in the configuration file
	// Follow keeps the connection open after the answer to "events": one line per Event.
	Follow bool   `json:"follow,omitempty"`
	After  uint64 `json:"after,omitempty"` // "events": only those with a higher number
}

// Response is the answer, one line of JSON.
type Response struct {
	Error  string          `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

const (
	maxRequest     = 1 << 20 // bytes
	controlTimeout = 10 * time.Second
)

// ServeControl answers on the socket at path, which only the user of this process may
// use, until ctx ends. A socket that a process has left there is replaced.
func (f *Fabric) ServeControl(ctx context.Context, path string) error {
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return fmt.Errorf("cannot listen on %s: another process answers there", path)
	}
	if st, err := os.Lstat(path); err == nil && st.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("cannot listen on %s: it is there and no socket", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	defer l.Close()
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("cannot protect %s: %w", path, err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		c, err := l.Accept()
		if err != nil {
			// Out of file descriptors: no reason to end the fabric, which may have them all itself.
			select {
			case <-time.After(20 * time.Millisecond):
				continue
			case <-ctx.Done():
				return nil
			}
		}
		wg.Go(func() {
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			f.answer(ctx, c)
		})
	}
}

// answer serves one request.
func (f *Fabric) answer(ctx context.Context, c net.Conn) {
	c.SetDeadline(time.Now().Add(controlTimeout))
	out := json.NewEncoder(c)
	line, err := bufio.NewReader(io.LimitReader(c, maxRequest)).ReadBytes('\n')
	if err != nil {
		return
	}
	var req Request
	if err := json.Unmarshal(line, &req); err != nil {
		_ = out.Encode(Response{Error: "cannot read the request: " + err.Error()})
		return
	}
	if req.Op == "events" && req.Follow {
		f.stream(ctx, c, out, req.After)
		return
	}
	result, err := f.Perform(req)
	var resp Response
	if err == nil {
		resp.Result, err = json.Marshal(result)
	}
	if err != nil {
		resp = Response{Error: err.Error()}
	}
	_ = out.Encode(resp) // who asked may be gone
}

// stream sends events, the kept ones first, until the reader goes or falls behind.
func (f *Fabric) stream(ctx context.Context, c net.Conn, out *json.Encoder, after uint64) {
	events, stop := f.Follow()
	defer stop()
	gone := make(chan struct{})
	c.SetReadDeadline(time.Time{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, c) // its end is what counts
	}()
	defer func() { c.Close(); <-gone }()
	send := func(e Event) bool {
		if e.Seq <= after {
			return true
		}
		after = e.Seq
		c.SetWriteDeadline(time.Now().Add(controlTimeout))
		return out.Encode(e) == nil
	}
	for _, e := range f.Events(after) {
		if !send(e) {
			return
		}
	}
	for {
		select {
		case e, ok := <-events:
			if !ok || !send(e) {
				return
			}
		case <-gone:
			return
		case <-ctx.Done():
			return
		}
	}
}

// Call asks the fabric whose control socket is at path, and decodes the result into
// result unless that is nil.
func Call(ctx context.Context, path string, req Request, result any) error {
	c, err := dialControl(ctx, path, req)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	c.SetReadDeadline(time.Now().Add(controlTimeout))
	var resp Response
	if err := json.NewDecoder(c).Decode(&resp); err != nil {
		return fmt.Errorf("cannot read the answer of %s: %w", path, err)
	}
	if resp.Error != "" {
		return errors.New(resp.Error)
	}
	if result == nil || len(resp.Result) == 0 {
		return nil
	}
	return json.Unmarshal(resp.Result, result)
}

// CallFollow hands the events after the one numbered after to each, until that
// returns an error, ctx ends or the fabric closes the connection.
func CallFollow(ctx context.Context, path string, after uint64, each func(Event) error) error {
	c, err := dialControl(ctx, path, Request{Op: "events", Follow: true, After: after})
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	in := json.NewDecoder(c)
	for {
		var e Event
		if err := in.Decode(&e); err != nil {
			if ctx.Err() != nil || errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("cannot read events of %s: %w", path, err)
		}
		if err := each(e); err != nil {
			return err
		}
	}
}

func dialControl(ctx context.Context, path string, req Request) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("cannot reach fabricsim: no fabric is played at %s", path)
		}
		return nil, fmt.Errorf("cannot reach fabricsim: %w", err)
	}
	c.SetWriteDeadline(time.Now().Add(controlTimeout))
	if err := json.NewEncoder(c).Encode(req); err != nil {
		c.Close()
		return nil, fmt.Errorf("cannot ask fabricsim: %w", err)
	}
	return c, nil
}
