"""The same engine on Ray Serve: many replicas, one interface. Knows no turn; needs ray."""
