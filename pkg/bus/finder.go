package bus

import (
	"context"

	dbusinterfaces "github.com/stas-go/stas/dbus-interfaces"
)

// FinderServer is stafd on the bus. Its methods may be called from any goroutine and
// never block; start [FinderServer.Run] once.
type FinderServer struct {
	*server
	pages       Pages
	controllers *objects[DiscoveryController]
}

// NewFinderServer makes the server of stafd; nothing happens before Run.
func NewFinderServer(opts Options, f Finder, p Pages, d Debug) *FinderServer {
	s := newServer(FinderName, finderPath, dbusinterfaces.Staf, opts, d, FinderName, pagesInterface)
	s.tree.export(s.path, pagesInterface, pagesMembers(p))
	s.tree.export(s.path, FinderName, members{
		"list_controllers": {in: "b", run: func(ctx context.Context, c *call) ([]any, error) {
			list, err := f.Controllers(ctx, c.bool(0))
			if err != nil {
				return nil, err
			}
			return listReply(list, c.bool(0), s.debug.iface+".controller_info")
		}},
		"get_log_pages": {in: idArgs, run: func(ctx context.Context, c *call) ([]any, error) {
			entries, err := f.LogPage(ctx, c.id())
			if err != nil {
				return nil, err
			}
			return entriesReply(entries)
		}},
		"get_all_log_pages": {in: "b", run: func(ctx context.Context, c *call) ([]any, error) {
			logs, err := f.AllLogPages(ctx, c.bool(0))
			if err != nil {
				return nil, err
			}
			return allPagesReply(logs, c.bool(0))
		}},
	})
	return &FinderServer{server: s, pages: p}
}

// LogPagesChanged announces that the published entries of a controller changed.
func (s *FinderServer) LogPagesChanged(id ID, device string) {
	args := []any{id.Transport, id.Traddr, id.Trsvcid, id.SubsysNQN, id.HostTraddr, id.HostIface, id.HostNQN, device}
	key := "log"
	for i, a := range args {
		args[i] = clean(a.(string))
		key += "\x00" + a.(string)
	}
	s.out.put(key, signal{s.path, FinderName + ".log_pages_changed", args})
}

// DCRemoved announces that discovery controllers went; once per removal pass.
func (s *FinderServer) DCRemoved() {
	s.out.put("removed", signal{s.path, FinderName + ".dc_removed", nil})
}

// PageChanged announces a new revision of a page, or a new page.
func (s *FinderServer) PageChanged(key string, revision uint64) {
	s.out.put("page\x00"+key, signal{s.path, pagesInterface + ".PageChanged", []any{clean(key), revision}})
}

// PageRemoved announces that the finder knows the controller of a page no more.
func (s *FinderServer) PageRemoved(key, reason string) {
	s.out.put("page\x00"+key, signal{s.path, pagesInterface + ".PageRemoved", []any{clean(key), clean(reason)}})
}
