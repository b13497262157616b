package kernel

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// reply612 is what Debian's Linux 6.12 tells.
const reply612 = "instance=-1,cntlid=-1,transport=%s,traddr=%s,trsvcid=%s,nqn=%s,queue_size=%d,nr_io_queues=%d,reconnect_delay=%d," +
	"ctrl_loss_tmo=%d,keep_alive_tmo=%d,hostnqn=%s,host_traddr=%s,host_iface=%s,hostid=%s,duplicate_connect,disable_sqflow,hdr_digest," +
	"data_digest,nr_write_queues=%d,nr_poll_queues=%d,tos=%d,keyring=%d,tls_key=%d,fast_io_fail_tmo=%d,discovery,dhchap_secret=%s," +
	"dhchap_ctrl_secret=%s,tls\n"

var options612 = Options{Names: parseOptions(reply612), Release: "6.12.107+deb13-amd64"}

var testHost = tid.Host{NQN: "nqn.2014-08.org.nvmexpress:uuid:1", ID: "11111111-2222-3333-4444-555555555555"}

func newTID(t testing.TB, kind tid.Kind, id tid.TID) tid.TID {
	t.Helper()
	id, err := tid.New(kind, id)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestParseOptions(t *testing.T) {
	if len(options612.Names) != 27 || options612.Has("instance") || !options612.Has("tls") || !options612.Has("host_iface") || options612.Has("concat") {
		t.Errorf("options %v", options612.Names)
	}
	if !options612.AtLeast(6, 12) || !options612.AtLeast(5, 17) || options612.AtLeast(6, 13) || options612.AtLeast(7, 0) {
		t.Errorf("version of %s", options612.Release)
	}
}

// textDevice is a fabrics device that tells its options, or fails to.
type textDevice struct {
	text string
	err  error
}

func (d textDevice) Write([]byte) (int, error) { return 0, syscall.EINVAL }
func (d textDevice) Close() error              { return nil }
func (d textDevice) ReadAt(b []byte, _ int64) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	return copy(b, d.text), io.EOF
}

func TestReadOptions(t *testing.T) {
	read := func(d textDevice, release string) (Options, error) {
		return readOptions(func() (fabricsDevice, error) { return d, nil }, release)
	}
	if o, err := read(textDevice{text: reply612}, "6.12.1"); err != nil || !slices.Equal(o.Names, options612.Names) {
		t.Errorf("6.12: %v, %v", o, err)
	}
	for release, want := range map[string][4]bool{ // tos, host_iface, discovery, tls
		"5.4.0-generic": {false, false, false, false}, "5.14.0-70.el9": {true, true, false, false}, "5.16.3": {true, true, true, false},
	} {
		o, err := read(textDevice{err: syscall.EINVAL}, release)
		if got := [4]bool{o.Has("tos"), o.Has("host_iface"), o.Has("discovery"), o.Has("tls")}; err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", release, got, err, want)
		}
	}
	if _, err := read(textDevice{err: syscall.ENOMEM}, "6.1"); !errors.Is(err, syscall.ENOMEM) {
		t.Errorf("read error: %v", err)
	}
	for _, e := range []error{syscall.ENOENT, syscall.ENODEV} {
		if _, err := readOptions(func() (fabricsDevice, error) { return nil, fmt.Errorf("cannot open: %w", e) }, "6.1"); !errors.Is(err, ErrNoFabrics) {
			t.Errorf("without device: %v", err)
		}
	}
}

func TestOptionString(t *testing.T) {
	const nqn = "nqn.2024-01.test:s1"
	const hostPart = ",hostnqn=nqn.2014-08.org.nvmexpress:uuid:1,hostid=11111111-2222-3333-4444-555555555555"
	const wwn = "nn-0x0000000000000001:pn-0x0000000000000002"
	for name, c := range map[string]struct {
		kind    tid.Kind
		id      tid.TID
		params  tid.Params
		want    string
		leftOut int
	}{
		"io": {tid.IO, tid.TID{Transport: nvme.TCP, Traddr: "192.0.2.1", NQN: nqn}, tid.Params{},
			"nqn=" + nqn + ",transport=tcp,traddr=192.0.2.1,trsvcid=4420" + hostPart, 0},
		"everything": {tid.IO, tid.TID{Transport: nvme.TCP, Traddr: "fe80::1%eth0", Trsvcid: "4421", NQN: nqn, HostTraddr: "fe80::2", HostIface: "eth0"},
			tid.Params{KeepAliveTmo: tid.SetInt(5), CtrlLossTmo: tid.SetInt(-1), HdrDigest: tid.On, DataDigest: tid.Off, TLS: tid.On, DHCHAPSecret: tid.NewSecret("DHHC-1:00:abc=:"), DHCHAPCtrl: tid.NewSecret("DHHC-1:00:xyz=:")},
			"nqn=" + nqn + ",transport=tcp,traddr=fe80::1%eth0,trsvcid=4421,host_traddr=fe80::2,host_iface=eth0" + hostPart +
				",keep_alive_tmo=5,ctrl_loss_tmo=-1,hdr_digest,tls,dhchap_secret=DHHC-1:00:abc=:,dhchap_ctrl_secret=DHHC-1:00:xyz=:", 0},
		"discovery": {tid.Discovery, tid.TID{Transport: nvme.TCP, Traddr: "192.0.2.1"}, tid.Params{NrIOQueues: tid.SetInt(4), DuplicateConnect: tid.On},
			"nqn=" + nvme.DiscoveryNQN + ",transport=tcp,traddr=192.0.2.1,trsvcid=8009" + hostPart + ",discovery,keep_alive_tmo=30", 0},
		"discovery with kato": {tid.Discovery, tid.TID{Transport: nvme.TCP, Traddr: "192.0.2.1", NQN: nqn}, tid.Params{KeepAliveTmo: tid.SetInt(12)},
			"nqn=" + nqn + ",transport=tcp,traddr=192.0.2.1,trsvcid=8009" + hostPart + ",discovery,keep_alive_tmo=12", 0},
		"discovery with kato 0": {tid.Discovery, tid.TID{Transport: nvme.TCP, Traddr: "192.0.2.1"}, tid.Params{KeepAliveTmo: tid.SetInt(0)},
			"nqn=" + nvme.DiscoveryNQN + ",transport=tcp,traddr=192.0.2.1,trsvcid=8009" + hostPart + ",discovery,keep_alive_tmo=30", 0},
		"rdma": {tid.IO, tid.TID{Transport: nvme.RDMA, Traddr: "192.0.2.1", NQN: nqn, HostIface: "eth0"}, tid.Params{HdrDigest: tid.On, TOS: tid.SetInt(7)},
			"nqn=" + nqn + ",transport=rdma,traddr=192.0.2.1,trsvcid=4420" + hostPart + ",tos=7", 1},
		"fc": {tid.IO, tid.TID{Transport: nvme.FC, Traddr: wwn, Trsvcid: "none", NQN: nqn, HostTraddr: wwn}, tid.Params{TOS: tid.SetInt(7)},
			"nqn=" + nqn + ",transport=fc,traddr=" + wwn + ",host_traddr=" + wwn + hostPart, 1},
		"loop": {tid.IO, tid.TID{Transport: nvme.Loop, NQN: nqn}, tid.Params{QueueSize: tid.SetInt(64), CtrlLossTmo: tid.SetInt(5)},
			"nqn=" + nqn + ",transport=loop" + hostPart + ",queue_size=64", 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := ConnectRequest{TID: newTID(t, c.kind, c.id), Kind: c.kind, Host: testHost, Params: c.params}
			got, leftOut, err := optionString(newWanted(r), options612, tlsKeys{}, 4096)
			if err != nil || string(got) != c.want {
				t.Errorf("optionString =\n%s, %v, want\n%s", got, err, c.want)
			}
			if len(leftOut) != c.leftOut {
				t.Errorf("left out %q, want %d", leftOut, c.leftOut)
			}
		})
	}
}

func TestOptionStringRefuses(t *testing.T) {
	const secret = "DHHC-1:00:sesame"
	base := func() ConnectRequest {
		return ConnectRequest{TID: tid.TID{Transport: nvme.TCP, Traddr: "192.0.2.1", Trsvcid: "4420", NQN: "nqn.2024-01.test:s1"}, Host: testHost,
			Params: tid.Params{DHCHAPSecret: tid.NewSecret(secret)}}
	}
	old := Options{Names: optionsOf(5, 15), Release: "5.15.0"}
	for name, c := range map[string]struct {
		change func(*ConnectRequest)
		known  Options
	}{
		"no host ID":             {func(r *ConnectRequest) { r.Host.ID = "" }, options612},
		"no host NQN":            {func(r *ConnectRequest) { r.Host.NQN = "" }, options612},
		"other host NQN":         {func(r *ConnectRequest) { r.TID.HostNQN = "nqn.2024-01.test:other" }, options612},
		"pcie":                   {func(r *ConnectRequest) { r.TID.Transport = nvme.PCIe }, options612},
		"comma":                  {func(r *ConnectRequest) { r.TID.NQN += ",tls" }, options612},
		"line end in a secret":   {func(r *ConnectRequest) { r.Params.DHCHAPSecret = tid.NewSecret(secret + "\ntls") }, options612},
		"too long":               {func(r *ConnectRequest) { r.TID.NQN += strings.Repeat("x", 5000) }, options612},
		"secret, old kernel":     {func(*ConnectRequest) {}, old},
		"tls, old kernel":        {func(r *ConnectRequest) { r.Params = tid.Params{TLS: tid.On} }, old},
		"tls over rdma":          {func(r *ConnectRequest) { r.TID.Transport = nvme.RDMA; r.Params.TLS = tid.On }, options612},
		"concat, unknown":        {func(r *ConnectRequest) { r.Params.Concat = tid.On }, options612},
		"concat and tls":         {func(r *ConnectRequest) { r.Params.Concat, r.Params.TLS = tid.On, tid.On }, optionsConcat},
		"unique DC, old kernel":  {func(r *ConnectRequest) { r.Kind = tid.Discovery; r.Params = tid.Params{} }, old},
		"interface, very old":    {func(r *ConnectRequest) { r.TID.HostIface = "eth0"; r.Params = tid.Params{} }, Options{Names: optionsOf(5, 4)}},
		"interface over loop":    {func(r *ConnectRequest) { r.TID.Transport = nvme.Loop; r.TID.HostIface = "eth0" }, options612},
		"port over fc":           {func(r *ConnectRequest) { r.TID.Transport = nvme.FC }, options612},
		"secret with non-ASCII":  {func(r *ConnectRequest) { r.Params.DHCHAPCtrl = tid.NewSecret("DHHC-1:00:ä") }, options612},
		"unknown transport name": {func(r *ConnectRequest) { r.TID.Transport = "" }, options612},
	} {
		t.Run(name, func(t *testing.T) {
			r := base()
			c.change(&r)
			text, _, err := optionString(newWanted(r), c.known, tlsKeys{}, 4096)
			var e *ConnectError
			if !errors.As(err, &e) || e.Class != InvalidOption || text != nil {
				t.Fatalf("optionString = %q, %v; want it refused", text, err)
			}
			if strings.Contains(err.Error(), "sesame") || strings.Contains(fmt.Sprintf("%+v", e), "sesame") {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

// optionsConcat are those of a kernel from 6.15.
var optionsConcat = Options{Names: slices.Sorted(slices.Values(append(slices.Clone(options612.Names), "concat"))), Release: "6.15.0"}

// Secure concatenation is one flag; its key comes out of the authentication, for which there has to be a secret.
func TestConcat(t *testing.T) {
	r := ConnectRequest{TID: tid.TID{Transport: nvme.TCP, Traddr: "192.0.2.1", Trsvcid: "4420", NQN: "nqn.2024-01.test:s1"}, Host: testHost,
		Params: tid.Params{Concat: tid.On, DHCHAPSecret: tid.NewSecret("DHHC-1:00:x"), TLSKey: tid.NewSecret("4711")}}
	text, _, err := optionString(newWanted(r), optionsConcat, tlsKeys{keyring: "17"}, 4096)
	if s := string(text); err != nil || !strings.HasSuffix(s, ",concat,keyring=17,dhchap_secret=DHHC-1:00:x") || strings.Contains(s, "tls") {
		t.Errorf("optionString = %s, %v", s, err)
	}
	r.Params.DHCHAPSecret = tid.Secret{}
	if _, _, err = optionString(newWanted(r), optionsConcat, tlsKeys{}, 4096); !KeyMissing(err) {
		t.Errorf("without a secret: %v", err)
	}
	if _, _, err = optionString(newWanted(r), options612, tlsKeys{}, 4096); err == nil || KeyMissing(err) || !strings.Contains(err.Error(), "does not know concat") {
		t.Errorf("on a kernel without: %v", err)
	}
}

// The well-known NQN makes a discovery connection on kernels that lack the flag.
func TestDiscoveryFlagOnOldKernel(t *testing.T) {
	r := ConnectRequest{TID: newTID(t, tid.Discovery, tid.TID{Transport: nvme.TCP, Traddr: "192.0.2.1"}), Kind: tid.Discovery, Host: testHost}
	text, _, err := optionString(newWanted(r), Options{Names: optionsOf(5, 15)}, tlsKeys{}, 4096)
	if err != nil || strings.Contains(string(text), ",discovery") {
		t.Errorf("optionString = %s, %v", text, err)
	}
}

func TestConnectErrorTellsNoSecret(t *testing.T) {
	r := ConnectRequest{TID: tid.TID{Transport: nvme.TCP, Traddr: "192.0.2.1"}, Params: tid.Params{DHCHAPSecret: tid.NewSecret("sesame"), TLSKey: tid.NewSecret("sesame")}}
	err := failed(r.TID, syscall.EKEYREJECTED, 0)
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Error("x", "error", err, "request", r)
	for _, s := range []string{err.Error(), fmt.Sprintf("%v %+v %#v", r, r, r), log.String()} {
		if strings.Contains(s, "sesame") {
			t.Errorf("a secret shows: %s", s)
		}
	}
	if !errors.Is(err, syscall.EKEYREJECTED) || err.Class != Auth || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Errorf("error %v, class %v", err, err.Class)
	}
}

func TestClassOf(t *testing.T) {
	for errno, want := range map[syscall.Errno]Class{
		114: AlreadyConnected, 22: InvalidOption, 111: Refused, 110: Timeout, 113: Unreachable, 101: Unreachable, 11: Timeout, 104: Refused,
		5: Rejected, 19: NoDevice, 99: Unreachable, 126: Auth, 129: Auth, 12: Other, 95: Rejected, 16: Other,
	} {
		if got := ClassOf(errno); got != want {
			t.Errorf("ClassOf(%d %v) = %v, want %v", int(errno), errno, got, want)
		}
	}
	for c := Other; c <= NoDevice; c++ {
		if c.String() == "" || c != Other && c.String() == "other" {
			t.Errorf("class %d has no name", c)
		}
	}
}
