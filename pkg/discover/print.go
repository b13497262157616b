package discover

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
)

// WriteTable prints the pages of a walk as one table; with referrals its first column
// tells which controller an entry comes from.
func WriteTable(w io.Writer, root *Page) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	from := len(root.Referrals) > 0
	if from {
		fmt.Fprint(t, "FROM\t")
	}
	fmt.Fprintln(t, "SUBTYPE\tTRTYPE\tADRFAM\tTRADDR\tTRSVCID\tPORTID\tTREQ\tEFLAGS\tSUBNQN")
	var trouble []string
	each(root, func(p *Page) {
		if p.Err != nil {
			trouble = append(trouble, p.Err.Error())
		}
		if p.Log == nil || p.Same != nil {
			return
		}
		if p.Log.Dropped > 0 {
			trouble = append(trouble, fmt.Sprintf("%s: %d entries make no sense", p.address(), p.Log.Dropped))
		}
		for _, e := range p.Log.Entries {
			if from {
				fmt.Fprintf(t, "%s\t", p.address())
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", e.Subtype, e.Transport, e.AddrFamily,
				dash(e.Traddr), dash(e.Trsvcid), e.PortID, e.TReq, flags(e.EFlags), dash(e.SubNQN))
		}
	})
	if err := t.Flush(); err != nil {
		return err
	}
	for _, line := range trouble {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// each calls f for every page, a page before those it refers to.
func each(p *Page, f func(*Page)) {
	f(p)
	for _, r := range p.Referrals {
		if r.Page != nil {
			each(r.Page, f)
		}
	}
}

func (p *Page) address() string {
	if p.Trsvcid == "" {
		return p.Traddr
	}
	if strings.Contains(p.Traddr, ":") {
		return "[" + p.Traddr + "]:" + p.Trsvcid
	}
	return p.Traddr + ":" + p.Trsvcid
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// flags spells the flags of an entry.
func flags(f nvme.EFlags) string {
	var words []string
	for _, w := range []struct {
		bit  nvme.EFlags
		name string
	}{{nvme.DUPRETINFO, "dupretinfo"}, {nvme.EPCSD, "epcsd"}, {nvme.NCC, "ncc"}} {
		if f.Has(w.bit) {
			words = append(words, w.name)
			f &^= w.bit
		}
	}
	if f != 0 {
		words = append(words, fmt.Sprintf("0x%x", uint16(f)))
	}
	return dash(strings.Join(words, ","))
}

// WriteTree prints the pages of a walk as a tree of controllers, subsystems and referrals.
func WriteTree(w io.Writer, root *Page) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", root.address(), root.describe())
	root.branch(&b, "")
	_, err := io.WriteString(w, b.String())
	return err
}

func (p *Page) describe() string {
	if p.Controller == nil {
		return p.NQN
	}
	kind := "discovery controller"
	if t := p.Controller.DCTYPE; t != nvme.DCTypeNone {
		kind = strings.ToUpper(t.String())
	}
	nqn := p.Controller.SUBNQN
	if nqn == "" {
		nqn = p.NQN
	}
	switch {
	case p.Log == nil:
		return kind + " " + nqn
	case p.Same != nil:
		return kind + " " + nqn + ", the same as at " + p.Same.address()
	}
	return fmt.Sprintf("%s %s, generation %d", kind, nqn, p.Log.GenCtr)
}

// branch prints what hangs below a page. Paths to one subsystem share a line.
func (p *Page) branch(b *strings.Builder, indent string) {
	var items []func(last string)
	add := func(text string, below func(indent string)) {
		items = append(items, func(last string) {
			fmt.Fprintf(b, "%s%s─ %s\n", indent, last, text)
			if below != nil {
				below(indent + map[string]string{"├": "│  ", "└": "   "}[last])
			}
		})
	}
	var failed *nvmetcp.DialError
	switch {
	case errors.As(p.Err, &failed):
		add("error: "+failed.Err.Error(), nil) // the line above says where
	case p.Err != nil:
		add("error: "+p.Err.Error(), nil)
	}
	if p.Log != nil && p.Same == nil {
		for _, s := range subsystems(p.Log) {
			add(s, nil)
		}
		if p.Log.Dropped > 0 {
			add(fmt.Sprintf("%d entries make no sense", p.Log.Dropped), nil)
		}
	}
	referrals := p.Referrals
	if referrals == nil && p.Same == nil { // the walk was not recursive
		for _, e := range p.referrals() {
			referrals = append(referrals, Referral{Entry: e, Reason: "referral"})
		}
	}
	for _, r := range referrals {
		if r.Page != nil {
			add(r.Page.address()+" "+r.Page.describe(), func(indent string) { r.Page.branch(b, indent) })
			continue
		}
		there := Page{Traddr: r.Entry.Traddr, Trsvcid: r.Entry.Trsvcid}
		add(there.address()+" "+r.Entry.SubNQN+" ("+r.Reason+")", nil)
	}
	for i, item := range items {
		if i == len(items)-1 {
			item("└")
		} else {
			item("├")
		}
	}
}

// subsystems gives one line for each NVM subsystem of a page, with all its paths, in
// the order in which they come first.
func subsystems(log *nvme.DiscoveryLog) []string {
	var order []string
	paths := make(map[string][]string)
	for _, e := range log.Entries {
		if e.Subtype != nvme.SubtypeNVMe {
			continue
		}
		if paths[e.SubNQN] == nil {
			order = append(order, e.SubNQN)
		}
		at := Page{Traddr: e.Traddr, Trsvcid: e.Trsvcid}
		path := at.address()
		if e.Transport != nvme.TransportTypeTCP {
			path = e.Transport.String() + " " + path
		}
		paths[e.SubNQN] = append(paths[e.SubNQN], path)
	}
	for i, nqn := range order {
		order[i] = dash(nqn) + "  " + strings.Join(paths[nqn], " ")
	}
	return order
}

// WriteJSON prints the pages of a walk, each with its entries and referrals. Values
// are spelled as in the output of "stafctl dlp".
func WriteJSON(w io.Writer, root *Page) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(root.object())
}

type (
	pageObject struct {
		Traddr     string            `json:"traddr"`
		Trsvcid    string            `json:"trsvcid"`
		NQN        string            `json:"nqn"`
		SubsysNQN  string            `json:"subsysnqn,omitempty"`
		DCType     string            `json:"dctype,omitempty"`
		Model      string            `json:"model,omitempty"`
		Error      string            `json:"error,omitempty"`
		SameAs     string            `json:"same-as,omitempty"`
		Generation *uint64           `json:"genctr,omitempty"`
		Dropped    int               `json:"dropped,omitempty"`
		Records    []entryObject     `json:"records,omitzero"`
		Referrals  []*referralObject `json:"referrals,omitempty"`
	}
	referralObject struct {
		*pageObject
		Entry  *entryObject `json:"entry,omitempty"`
		Reason string       `json:"not-followed,omitempty"`
	}
	entryObject struct {
		Subtype string `json:"subtype"`
		Trtype  string `json:"trtype"`
		Adrfam  string `json:"adrfam"`
		Traddr  string `json:"traddr"`
		Trsvcid string `json:"trsvcid"`
		PortID  uint16 `json:"portid"`
		CntlID  uint16 `json:"cntlid"`
		ASQSize uint16 `json:"asqsz"`
		TReq    string `json:"treq"`
		SecType uint8  `json:"sectype"`
		EFlags  uint16 `json:"eflags"`
		SubNQN  string `json:"subnqn"`
	}
)

func (p *Page) object() *pageObject {
	o := &pageObject{Traddr: p.Traddr, Trsvcid: p.Trsvcid, NQN: p.NQN}
	if p.Controller != nil {
		o.SubsysNQN, o.DCType, o.Model = p.Controller.SUBNQN, p.Controller.DCTYPE.String(), p.Controller.MN
	}
	if p.Err != nil {
		o.Error = p.Err.Error()
	}
	if p.Same != nil {
		o.SameAs = p.Same.address()
	}
	if p.Log != nil {
		o.Generation, o.Dropped, o.Records = &p.Log.GenCtr, p.Log.Dropped, []entryObject{}
		for _, e := range p.Log.Entries {
			o.Records = append(o.Records, object(e))
		}
	}
	for _, r := range p.Referrals {
		ro := &referralObject{Reason: r.Reason}
		if r.Page != nil {
			ro.pageObject = r.Page.object()
		} else {
			e := object(r.Entry)
			ro.Entry = &e
		}
		o.Referrals = append(o.Referrals, ro)
	}
	return o
}

func object(e nvme.DiscoveryEntry) entryObject {
	return entryObject{e.Subtype.String(), e.Transport.String(), e.AddrFamily.String(), e.Traddr, e.Trsvcid, e.PortID,
		e.CntlID, e.ASQSize, e.TReq.String(), uint8(e.TSAS.SecType), uint16(e.EFlags), e.SubNQN}
}
