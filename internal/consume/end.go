package consume

// End ends the generation before the group does: the handler cannot go on with what it has, and wants to
// be given its tasks anew. What it holds is drained and committed as at any other end; the member stays in the
// group, and joins the next generation. It may be called from any goroutine, and more than once.
func (g *Generation) End(why string) { g.end(endReason(why)) }

// CloseIdleConnections closes what calls beside, or after, Run left open.
func (c *Consumer) CloseIdleConnections() {
	c.transport.CloseIdleConnections()
	c.connections.closeAll()
}
