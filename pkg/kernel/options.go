package kernel

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Options are the connect options that the running kernel's parser knows, for any
// transport. It is a plain value and must not be changed.
type Options struct {
	Names   []string // sorted
	Release string   // of the kernel, as uname -r gives it
}

// Has says whether the kernel knows an option, such as host_iface.
func (o Options) Has(name string) bool {
	_, ok := slices.BinarySearch(o.Names, name)
	return ok
}

// AtLeast compares the kernel's version.
func (o Options) AtLeast(major, minor int) bool {
	a, b := version(o.Release)
	return a > major || a == major && b >= minor
}

// version reads the two leading numbers of a kernel release, 0 where there are none.
func version(release string) (major, minor int) {
	_, _ = fmt.Sscanf(release, "%d.%d", &major, &minor)
	return major, minor
}

// parseOptions reads what /dev/nvme-fabrics tells since Linux 5.17: one line of the
// parser's patterns, "transport=%s,…,tls"; the parser itself takes line ends for commas. instance and cntlid are parts of the reply to a connect.
func parseOptions(text string) []string {
	var names []string
	for pattern := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == '\n' }) {
		name, _, _ := strings.Cut(pattern, "=")
		if name = strings.TrimSpace(name); name != "" && name != "instance" && name != "cntlid" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// optionsOf lists the options of kernels that do not tell, by when they came
// (drivers/nvme/host/fabrics.c, opt_tokens): tos 5.5, fast_io_fail_tmo 5.12,
// host_iface 5.14, discovery 5.16.
func optionsOf(major, minor int) []string {
	names := strings.Fields(`transport traddr trsvcid nqn queue_size nr_io_queues reconnect_delay ctrl_loss_tmo
		keep_alive_tmo hostnqn host_traddr hostid duplicate_connect disable_sqflow hdr_digest data_digest
		nr_write_queues nr_poll_queues`)
	for _, later := range []struct {
		minor int
		name  string
	}{{5, "tos"}, {12, "fast_io_fail_tmo"}, {14, "host_iface"}, {16, "discovery"}} {
		if major > 5 || major == 5 && minor >= later.minor {
			names = append(names, later.name)
		}
	}
	slices.Sort(names)
	return names
}

// readOptions asks the kernel. It waits for whoever connects at the moment, as the kernel
// takes the same mutex for it.
func readOptions(open func() (fabricsDevice, error), release string) (Options, error) {
	dev, err := open()
	if err != nil {
		return Options{}, fmt.Errorf("cannot read the kernel's connect options: %w", noFabrics(err))
	}
	defer func() { _ = dev.Close() }()
	buf := make([]byte, attrSize)
	n, err := dev.ReadAt(buf, 0)
	switch {
	case errors.Is(err, unix.EINVAL):
		major, minor := version(release)
		return Options{Names: optionsOf(major, minor), Release: release}, nil
	case err != nil && !errors.Is(err, io.EOF):
		return Options{}, fmt.Errorf("cannot read the kernel's connect options: %w", err)
	}
	return Options{Names: parseOptions(string(buf[:n])), Release: release}, nil
}

// noFabrics maps the errors of opening a device that is not there.
func noFabrics(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
		return ErrNoFabrics
	}
	return err
}
