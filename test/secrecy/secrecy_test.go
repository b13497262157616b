// Package secrecy proves that no type of this module that holds a secret shows it when it is printed, logged or marshalled.
package secrecy

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/stas-go/stas/pkg/check"
	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/connector"
	"github.com/stas-go/stas/pkg/discover"
	"github.com/stas-go/stas/pkg/fabricsim"
	"github.com/stas-go/stas/pkg/finder"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
	"github.com/stas-go/stas/pkg/schedule"
	"github.com/stas-go/stas/pkg/tid"
)

// holding lists the exported types that hold a secret; TestComplete says which is missing.
var holding = []reflect.Type{
	reflect.TypeFor[check.Configuration](),
	reflect.TypeFor[config.Common](),
	reflect.TypeFor[config.Controller](),
	reflect.TypeFor[config.Identity](),
	reflect.TypeFor[config.IdentitySource](),
	reflect.TypeFor[config.Scope](),
	reflect.TypeFor[config.Stac](),
	reflect.TypeFor[config.StacSource](),
	reflect.TypeFor[config.Staf](),
	reflect.TypeFor[config.StafSource](),
	reflect.TypeFor[connector.Connector](),
	reflect.TypeFor[connector.View](),
	reflect.TypeFor[discover.Options](),
	reflect.TypeFor[fabricsim.Config](),
	reflect.TypeFor[fabricsim.Fabric](),
	reflect.TypeFor[fabricsim.HostConfig](),
	reflect.TypeFor[finder.Candidate](),
	reflect.TypeFor[finder.Finder](),
	reflect.TypeFor[finder.View](),
	reflect.TypeFor[finder.Want](),
	reflect.TypeFor[kernel.ConnectRequest](),
	reflect.TypeFor[kernel.Late](),
	reflect.TypeFor[kernel.Worker](),
	reflect.TypeFor[nvme.DHCHAPSecret](),
	reflect.TypeFor[nvme.Key](),
	reflect.TypeFor[nvme.TLSKey](),
	reflect.TypeFor[nvmetcp.AuthPolicy](),
	reflect.TypeFor[nvmetcp.Controller](),
	reflect.TypeFor[nvmetcp.Host](),
	reflect.TypeFor[nvmetcp.HostConfig](),
	reflect.TypeFor[nvmetcp.Target](),
	reflect.TypeFor[schedule.Scheduler](),
	reflect.TypeFor[schedule.Target](),
	reflect.TypeFor[tid.Params](),
	reflect.TypeFor[tid.Secret](),
}

// key is a key whose bytes are known.
var key = func() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 32)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}()

var body = base64.StdEncoding.EncodeToString(binary.LittleEndian.AppendUint32(slices.Clone(key), crc32.ChecksumIEEE(key)))

// shows says whether text has 8 consecutive characters of the key in base64 or hexadecimal, or 4 of its bytes.
func shows(text string) bool {
	lower := strings.ToLower(text)
	for _, w := range windows(body, 8) {
		if strings.Contains(text, w) {
			return true
		}
	}
	for _, w := range windows(hex.EncodeToString(key), 8) {
		if strings.Contains(lower, w) {
			return true
		}
	}
	for _, w := range windows(string(key), 4) {
		if strings.Contains(text, w) {
			return true
		}
	}
	// As fmt prints a slice of bytes.
	return strings.Contains(text, strings.Trim(fmt.Sprintf("%d", key[:4]), "[]"))
}

func windows(s string, n int) []string {
	var list []string
	for i := 0; i+n <= len(s); i++ {
		list = append(list, s[i:i+n])
	}
	return list
}

// fill puts the key wherever v can hold one, exported or not, and reports how often.
func fill(v reflect.Value, depth int) int {
	if depth > 12 {
		return 0
	}
	if !v.CanSet() && v.CanAddr() {
		v = reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
	}
	switch v.Type() {
	case reflect.TypeFor[tid.Secret]():
		v.Set(reflect.ValueOf(tid.NewSecret("DHHC-1:00:" + body + ":")))
		return 1
	case reflect.TypeFor[nvme.Key]():
		k, err := nvme.ParseDHCHAPSecret("DHHC-1:00:" + body + ":")
		if err != nil {
			panic(err)
		}
		v.Set(reflect.ValueOf(k.Key))
		return 1
	}
	n := 0
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			n += fill(v.Field(i), depth+1)
		}
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		if n = fill(p.Elem(), depth+1); n > 0 {
			v.Set(p)
		}
	case reflect.Slice:
		s := reflect.MakeSlice(v.Type(), 1, 1)
		if n = fill(s.Index(0), depth+1); n > 0 {
			v.Set(s)
		}
	case reflect.Array:
		for i := range v.Len() {
			n += fill(v.Index(i), depth+1)
		}
	case reflect.Map:
		k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		if n = fill(k, depth+1) + fill(e, depth+1); n > 0 {
			m := reflect.MakeMap(v.Type())
			m.SetMapIndex(k, e)
			v.Set(m)
		}
	}
	return n
}

func TestNothingShown(t *testing.T) {
	for _, typ := range holding {
		filled := reflect.New(typ)
		if fill(filled.Elem(), 0) == 0 {
			t.Errorf("%v can hold no secret", typ)
			continue
		}
		for _, v := range []any{filled.Elem().Interface(), filled.Interface(), []any{filled.Interface()}, map[string]any{"x": filled.Elem().Interface()}} {
			for what, text := range renderings(v) {
				if shows(text) {
					t.Errorf("%T by %s shows the secret", v, what)
				}
			}
		}
	}
}

// renderings is v in every form in which programs let go of values.
func renderings(v any) map[string]string {
	all := map[string]string{}
	for _, verb := range strings.Fields("%v %+v %#v %s %q %x %X %d %o %b %c %U %e %g %t %p %T %08.3f %#x %w") {
		all[verb] = fmt.Sprintf(verb, v)
	}
	all["Sprint"] = fmt.Sprint(v, v)
	all["Errorf"] = fmt.Errorf("cannot use %v", v).Error()
	if b, err := json.Marshal(v); err == nil {
		all["json"] = string(b)
	} else {
		all["error of json"] = err.Error()
	}
	if b, err := xml.Marshal(v); err == nil {
		all["xml"] = string(b)
	} else {
		all["error of xml"] = err.Error()
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err != nil {
		all["error of gob"] = err.Error()
	}
	all["gob"] = b.String()
	b.Reset()
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "v", v)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "v", v)
	all["slog"] = b.String()
	return all
}

// TestComplete fails for an exported type that holds a secret and is not in the list above.
func TestComplete(t *testing.T) {
	var known []string
	for _, typ := range holding {
		known = append(known, typ.PkgPath()+"."+typ.Name())
	}
	for _, h := range holders(t) {
		if !slices.Contains(known, h) {
			t.Errorf("%s holds a secret and is not tested", h)
		}
	}
}

// TestShows proves that the proof works.
func TestShows(t *testing.T) {
	for _, leak := range []any{body, key, [32]byte(key), hex.EncodeToString(key), "x" + body[5:13] + "y", struct{ S string }{body}} {
		found := false
		for _, text := range renderings(leak) {
			found = found || shows(text)
		}
		if !found {
			t.Errorf("%T is not found out", leak)
		}
	}
	if shows("[redacted] DHHC-1:00: NVMe1R01") {
		t.Error("found where nothing is")
	}
}
