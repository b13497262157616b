package nvmetcp

// transfer is a command whose data the target has asked for with an R2T. Data goes
// to where it belongs as it arrives, so a transfer holds no buffer of its own.
type transfer struct {
	sqe      SQE
	act      Action
	length   uint64
	received uint64
	damaged  bool
	write    func(p []byte, off uint64) error
	done     func(damaged bool) error
}

// fetch asks for the data of t, all of it with one R2T.
func (c *conn) fetch(t *transfer) error {
	c.tmu.Lock()
	if len(c.transfers) >= int(c.depth) {
		c.tmu.Unlock()
		return sequenceErr("more than %d commands are under way", c.depth)
	}
	if c.transfers == nil {
		c.transfers = make(map[uint16]*transfer)
	}
	for c.transfers[c.lastTag] != nil {
		c.lastTag++
	}
	tag := c.lastTag
	c.lastTag++
	c.transfers[tag] = t
	c.tmu.Unlock()
	return c.write(&R2T{CID: t.sqe.CID(), TTag: tag, Length: uint32(t.length)})
}

// hostData takes data that an R2T asked for.
func (c *conn) hostData(p *H2CData, damaged bool) error {
	c.tmu.Lock()
	t := c.transfers[p.TTag]
	c.tmu.Unlock()
	n := uint64(len(p.Data))
	switch {
	case t == nil || t.sqe.CID() != p.CID:
		return headerErr(10, "H2CData of command %d with tag %d, which is not under way", p.CID, p.TTag)
	case uint64(p.Offset) != t.received || n == 0 || n > t.length-t.received:
		return rangeErr("H2CData with %d bytes at %d, expected are %d at %d", n, p.Offset, t.length-t.received, t.received)
	case p.Last != (t.received+n == t.length):
		return rangeErr("H2CData ends at %d of %d, last is %t", t.received+n, t.length, p.Last)
	}
	if damaged {
		t.damaged = true
	} else if err := t.write(p.Data, t.received); err != nil {
		return err
	}
	t.received += n
	if t.received < t.length {
		return nil
	}
	c.tmu.Lock()
	delete(c.transfers, p.TTag)
	c.tmu.Unlock()
	return t.done(t.damaged)
}
