package connector

import (
	"errors"
	"testing"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/registry"
)

// everyEvidence yields all combinations of evidence: 6 owners, 3 scopes, 13 facts.
func everyEvidence(yield func(evidence)) {
	owners := []registry.Owner{registry.NoOwner(), registry.OwnedBy("stas"), registry.OwnedBy("discoverd"), registry.OwnedBy("nbft"),
		registry.OwnedBy(""), registry.UnknownOwner(errors.New("EIO"))}
	scopes := []config.DisconnectScope{config.DisconnectOwn, config.DisconnectMatching, config.DisconnectNone}
	for _, owner := range owners {
		for _, scope := range scopes {
			for bits := range 1 << 13 {
				b := func(n int) bool { return bits>>n&1 != 0 }
				yield(evidence{owner: owner, scope: scope, live: b(0), firmware: b(1), excluded: b(2), matching: b(3), zoning: b(4),
					incomplete: b(5), answered: b(6), unlisted: b(7), sourceSaid: b(8), allSaid: b(9), listed: b(10), mentioned: b(11), frozen: b(12)})
			}
		}
	}
}

// TestJudgeKeepsThePromises states what must hold of every verdict, whatever the evidence.
func TestJudgeKeepsThePromises(t *testing.T) {
	n, removed := 0, 0
	count := map[string]int{}
	everyEvidence(func(e evidence) {
		n++
		v := judge(e)
		count[v]++
		bad := func(promise string) { t.Fatalf("%s: verdict %q on %+v", promise, v, e) }
		if v != verdictRemove {
			// What must go goes: ours, not protected, named by exclude= or lacked by a page that counts.
			proven := !e.incomplete && e.answered && e.zoning && e.scope != config.DisconnectNone && (e.unlisted || e.sourceSaid || e.allSaid)
			if e.owner.Is(Owner) && !e.firmware && (e.excluded || proven && !e.listed && !e.frozen && !e.mentioned) {
				bad("what is ours and proven unlisted goes")
			}
			return
		}
		removed++
		switch {
		case e.firmware:
			bad("boot connections of the firmware are never ended, whatever the registry says")
		case e.owner.Protected():
			bad("another owner's, or one that cannot be told, is never ended")
		case !e.owner.Is(Owner) && (e.scope != config.DisconnectMatching || !e.matching):
			bad("unowned ones are ended only where the administrator asked for it, of the transports that were named")
		case !e.owner.Is(Owner) && !e.allSaid:
			bad("unowned ones are ended only when all controllers have answered")
		case e.owner.Is(Owner) && e.excluded:
			return // the administrator's word, at once
		case e.scope == config.DisconnectNone || !e.zoning:
			bad("without zoning nothing is ended")
		case !e.answered:
			bad("silence of stafd ends nothing")
		case e.incomplete:
			bad("a configuration that is not known in full ends nothing")
		case e.listed:
			bad("what is listed stays")
		case e.frozen:
			bad("what a frozen page mentions stays")
		case e.mentioned && e.live:
			bad("what a controller listed that was given up stays while it lives")
		case !e.unlisted && !e.sourceSaid && !e.allSaid && !e.mentioned:
			bad("only a page that lacks it, or all pages, end a connection")
		}
	})
	if n != 6*3*1<<13 || removed == 0 || count[verdictRemove] != removed {
		t.Errorf("%d combinations, %d removals", n, removed)
	}
	for _, v := range []string{verdictForeign, verdictFirmware, verdictScope, verdictConfig, verdictSilence, verdictPages, verdictKept, verdictListed} {
		if count[v] == 0 {
			t.Errorf("no evidence leads to %q", v)
		}
	}
}
