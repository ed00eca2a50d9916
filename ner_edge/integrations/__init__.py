"""Components for other people's libraries; each module needs its library."""
