package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/fabricsim"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
)

const host = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555"

const lab = `
[port p]
address = 127.0.0.1
service = 0
[dc cdc]
type = cdc
nqn = nqn.2024-01.org.example:cdc
ports = p
zoning = yes
epcsd = yes
referral = nvme+tcp://192.0.2.1:8009
[subsystem disk]
nqn = nqn.2024-01.org.example:disk
count = 70
ports = p
namespace = 8M
[host h]
nqn = ` + host + `
dhchap-key = ` + key + `
dhchap-ctrl-key = ` + key + `
[zone z]
members = h disk1
`

const key = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:"

// TestOwnHost records our host with our target: every kind of PDU but the termination of
// connections, with and without digests, authentication, and all that a discovery controller does.
func TestOwnHost(t *testing.T) {
	needTshark(t)
	cfg, err := fabricsim.ParseConfig(strings.NewReader(lab))
	if err != nil {
		t.Fatal(err)
	}
	f, err := fabricsim.New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file := filepath.Join(t.TempDir(), "own.pcap")
	r := record(t, f.Addr("p"), file)
	discover(t, f, r)
	for _, digests := range []bool{false, true} {
		readAndWrite(t, r, digests)
	}
	r.close(t)
	for _, p := range dissect(t, file, r.addr().Port()) {
		t.Error(p)
	}
}

// TestDamageIsFound shows that the above finds what it is to find.
func TestDamageIsFound(t *testing.T) {
	needTshark(t)
	for action, want := range map[string]string{"bad-digest": "wrong digest", "bad-header": "malformed"} {
		cfg, err := fabricsim.ParseConfig(strings.NewReader(lab + "[fault x]\nstep = identify\naction = " + action + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		f, err := fabricsim.New(cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "damaged.pcap")
		r := record(t, f.Addr("p"), file)
		if _, err := try(r, "nqn.2024-01.org.example:disk1", action == "bad-digest"); err == nil {
			t.Errorf("%s did no harm", action)
		}
		r.close(t)
		f.Close()
		if problems := strings.Join(dissect(t, file, r.addr().Port()), "\n"); !strings.Contains(problems, want) {
			t.Errorf("%s: found is only\n%s", action, problems)
		}
	}
}

func dial(t *testing.T, r *recorder, nqn string, digests bool) *nvmetcp.Host {
	t.Helper()
	h, err := try(r, nqn, digests)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func try(r *recorder, nqn string, digests bool) (*nvmetcp.Host, error) {
	secret, err := nvme.ParseDHCHAPSecret(key)
	if err != nil {
		return nil, err
	}
	return nvmetcp.Dial(context.Background(), nvmetcp.HostConfig{Endpoint: nvmetcp.Endpoint{Addr: r.addr()}, SubNQN: nqn, HostNQN: host,
		HostID: nvme.HostID{1}, KeepAlive: 100 * time.Millisecond, HeaderDigest: digests, DataDigest: digests, Key: secret, ControllerKey: secret})
}

func discover(t *testing.T, f *fabricsim.Fabric, r *recorder) {
	t.Helper()
	h := dial(t, r, "nqn.2024-01.org.example:cdc", false)
	defer h.Close()
	if err := h.EnableEvents(t.Context(), nvme.OAESDiscovery); err != nil {
		t.Fatal(err)
	}
	dim := nvme.DIM{EntityType: nvme.DIMHost, NQN: host, Name: "h", Version: "v", Entries: []nvme.DIMEntry{{
		DiscoveryEntry: nvme.DiscoveryEntry{Transport: nvme.TransportTypeTCP, AddrFamily: nvme.AddrFamilyIPv4, SubNQN: host},
		HostID:         nvme.HostID{1}, SymbolicName: "name"}}}
	for _, task := range []nvme.DIMTask{nvme.DIMRegister, nvme.DIMDeregister} {
		if err := h.DIM(t.Context(), task, &dim); err != nil {
			t.Error(err)
		}
	}
	if _, err := h.ReadDiscoveryLog(t.Context(), nvme.LSPExtended); err != nil {
		t.Error(err)
	}
	for i := range 70 { // the page then is longer than one transfer
		if err := f.AddToZone("z", fmt.Sprintf("disk%d", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.WaitEvent(t.Context()); err != nil {
		t.Error(err)
	}
	if log, err := h.ReadDiscoveryLog(t.Context(), 0); err != nil || len(log.Entries) != 72 {
		t.Errorf("page has %d entries, %v", len(log.Entries), err)
	}
}

func readAndWrite(t *testing.T, r *recorder, digests bool) {
	t.Helper()
	h := dial(t, r, "nqn.2024-01.org.example:disk1", digests)
	defer h.Close()
	if n, err := h.OpenQueues(t.Context(), 2); err != nil || n != 2 {
		t.Fatalf("%d queues, %v", n, err)
	}
	for _, n := range []int{512, 4096, 256 << 10} { // in the capsule, and in several transfers
		data := bytes.Repeat([]byte("noise and more! "), n/16)
		if err := h.Write(t.Context(), 1, 16, 512, data); err != nil {
			t.Fatal(err)
		}
		back := make([]byte, n)
		if err := h.Read(t.Context(), 1, 16, 512, back); err != nil || !bytes.Equal(back, data) {
			t.Errorf("%d bytes read back differ, %v", n, err)
		}
	}
	if err := h.Read(t.Context(), 1, 1<<40, 512, make([]byte, 512)); err == nil {
		t.Error("reading behind the end succeeded")
	}
}

// TestCaptured dissects the files that STAS_CAPTURE lists, of ports 4500 and 4501.
func TestCaptured(t *testing.T) {
	files := strings.Fields(os.Getenv("STAS_CAPTURE"))
	if len(files) == 0 {
		t.Skip("STAS_CAPTURE names no files; make capture does")
	}
	needTshark(t)
	for _, f := range files {
		for _, p := range dissect(t, f, 4500, 4501) {
			t.Error(p)
		}
	}
}

func needTshark(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark is not installed; make capture does that")
	}
}

// kinds are the PDU types that a capture has to have (TCP transport 3.6.2).
var kinds = map[string]string{"0": "ICReq", "1": "ICResp", "4": "CapsuleCmd", "5": "CapsuleResp", "6": "H2CData", "7": "C2HData", "9": "R2T"}

// headers are their lengths, which tshark does not look at; without a PDU there is none.
var headers = map[string]string{"": "", "0": "128", "1": "128", "2": "24", "3": "24", "4": "72", "5": "24", "6": "24", "7": "24", "9": "24"}

// dissect has tshark read a file, and tells what is wrong with it, or missing.
func dissect(t *testing.T, file string, ports ...uint16) (problems []string) {
	t.Helper()
	// What two processors send is not always captured in its order.
	args := []string{"-n", "-r", file, "-o", "tcp.reassemble_out_of_order:TRUE", "-o", "nvme-tcp.check_hdgst:TRUE", "-o", "nvme-tcp.check_ddgst:TRUE"}
	for _, p := range ports {
		args = append(args, "-d", fmt.Sprintf("tcp.port==%d,nvme-tcp", p))
	}
	args = append(args, "-T", "fields", "-E", "separator=|", "-E", "aggregator=,")
	for _, field := range []string{"frame.number", "nvme-tcp.type", "nvme-tcp.hlen", "nvme-tcp.hdgst.status", "nvme-tcp.ddgst.status", "_ws.malformed",
		"_ws.unreassembled", "nvme-tcp.unknown_data"} {
		args = append(args, "-e", field)
	}
	count, digests := make(map[string]int), 0
	for line := range strings.Lines(tshark(t, args...)) {
		f := strings.Split(strings.TrimSpace(line), "|")
		lengths := strings.Split(f[2], ",")
		for i, kind := range strings.Split(f[1], ",") {
			count[kind]++
			if i >= len(lengths) || lengths[i] != headers[kind] {
				problems = append(problems, "packet "+f[0]+" has a malformed PDU: its header is "+f[2]+" long")
			}
		}
		// 1 is a good digest, 0 a wrong one (PROTO_CHECKSUM_E_GOOD, epan/proto.h).
		status := f[3] + f[4]
		digests += strings.Count(status, "1")
		if strings.Contains(status, "0") {
			problems = append(problems, "packet "+f[0]+" has a wrong digest")
		}
		if f[5]+f[6]+f[7] != "" {
			problems = append(problems, "packet "+f[0]+" is malformed")
		}
	}
	delete(count, "")
	for id, name := range kinds {
		if count[id] == 0 {
			problems = append(problems, "there is no "+name)
		}
	}
	if digests == 0 {
		problems = append(problems, "there are no digests")
	}
	t.Logf("%s: PDUs by type %v, %d good digests, %d problems", filepath.Base(file), count, digests, len(problems))
	return problems
}

func tshark(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("tshark", args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir()) // nobody's preferences
	out, err := cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		t.Fatalf("tshark: %v: %s", err, failed.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
