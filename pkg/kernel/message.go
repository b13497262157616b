package kernel

import (
	"errors"
	"syscall"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// operation is what a daemon asks of its worker.
type operation string

const (
	opConnect    operation = "connect"
	opDisconnect operation = "disconnect"
	opAdmin      operation = "admin"
	opRelease    operation = "release" // close what a session of admin commands has open; no reply
	opCancel     operation = "cancel"  // drop a request that was not begun; no reply of its own
	opOptions    operation = "options"
	opKickstart  operation = "kickstart"
)

// greeting is the first frame to a worker: where things are on this host.
type greeting struct {
	Sys, Dev, Fabrics string
	Registry          string
	Owner             string
	RunDir            string

	ExclusionFile, ExclusionDropIn string `json:",omitempty"`
}

// request is a frame from daemon to worker. Data of an admin command to the controller follows it.
type request struct {
	ID         uint64
	Op         operation
	Connect    *wanted            `json:",omitempty"`
	Disconnect *DisconnectRequest `json:",omitempty"`
	Admin      *adminCommand      `json:",omitempty"`
	Cancel     uint64             `json:",omitempty"` // ID of the request to drop
}

// adminCommand is one admin command of NVMe for the controller Name. Commands of one
// Session, if it is not 0, go to one and the same controller, even if its name is given anew.
type adminCommand struct {
	Name    string
	Session uint64
	Opcode  uint8
	NSID    uint32
	CDW     [6]uint32 // command dwords 10 to 15
	Read    int       // bytes to read from the controller
	Timeout time.Duration
}

// reply is a frame from worker to daemon. Data read by an admin command follows it.
type reply struct {
	ID         uint64
	Failure    *failure    `json:",omitempty"`
	Connection *Connection `json:",omitempty"`
	Left       bool        `json:",omitempty"` // its intent stays, for Adopt: the connection could not be registered
	Options    *Options    `json:",omitempty"`
	Result     uint32      `json:",omitempty"` // dword 0 of the completion
}

// failure is an error on its way through the pipe.
type failure struct {
	Text    string
	Kind    int           // index in sentinels + 1, 0 for none of them
	Errno   syscall.Errno // 0 for none
	Status  nvme.Status   // 0 for none
	Connect *connectFailure
}

type connectFailure struct {
	TID      tid.TID
	Class    Class
	Detail   string
	Took     time.Duration
	Warnings []string
}

var sentinels = []error{ErrGone, ErrNoFabrics, ErrNotOurs, ErrChanged, ErrBusy, ErrNotLive, ErrDisconnecting, ErrNoFC, ErrNotBegun, ErrExcluded}

// packError makes an error ready for the pipe, without what cannot go through: only what
// callers tell apart is kept, beside the text.
func packError(err error) *failure {
	if err == nil {
		return nil
	}
	f := &failure{Text: err.Error()}
	for i, s := range sentinels {
		if errors.Is(err, s) {
			f.Kind = i + 1
			break
		}
	}
	errors.As(err, &f.Errno)
	errors.As(err, &f.Status)
	var c *ConnectError
	if errors.As(err, &c) {
		f.Connect = &connectFailure{c.TID, c.Class, c.Detail, c.Took, c.Warnings}
		f.Errno = c.Errno
	}
	return f
}

// unpack is the inverse of packError.
func (f *failure) unpack() error {
	if f == nil {
		return nil
	}
	if c := f.Connect; c != nil {
		return &ConnectError{TID: c.TID, Errno: f.Errno, Class: c.Class, Detail: c.Detail, Took: c.Took, Warnings: c.Warnings}
	}
	e := &workerError{text: f.Text}
	if f.Kind > 0 && f.Kind <= len(sentinels) {
		e.causes = append(e.causes, sentinels[f.Kind-1])
	}
	if f.Errno != 0 {
		e.causes = append(e.causes, f.Errno)
	}
	if f.Status != 0 {
		e.causes = append(e.causes, f.Status)
	}
	return e
}

// workerError is an error of the worker as the daemon sees it.
type workerError struct {
	text   string
	causes []error
}

func (e *workerError) Error() string   { return e.text }
func (e *workerError) Unwrap() []error { return e.causes }
