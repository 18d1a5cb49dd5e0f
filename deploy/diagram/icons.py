"""Our own line icons, 24 units square, stroked in the box's colour."""

from __future__ import annotations

from typing import Final

ICONS: Final[dict[str, str]] = {
    "client": '<rect x="2" y="4" width="20" height="13" rx="2"/><path d="M8 21h8M12 17v4"/>',
    "shield": '<path d="M12 2 4 5v6c0 5 3.4 8.6 8 11 4.6-2.4 8-6 8-11V5z"/><path d="m8.5 12 2.5 2.5 4.5-5"/>',
    "door": '<path d="M3 21h18M6 21V4l9-2v19M15 5h4v16"/><circle cx="12" cy="12" r=".9"/>',
    "balance": '<circle cx="12" cy="4" r="2.4"/><circle cx="4.5" cy="19" r="2.4"/><circle cx="12" cy="19" r="2.4"/>'
    '<circle cx="19.5" cy="19" r="2.4"/><path d="M12 6.5v10M12 10.5H4.5v6M12 10.5h7.5v6"/>',
    "service": '<path d="m12 2 9 5v10l-9 5-9-5V7z"/><path d="m3 7 9 5 9-5M12 12v10"/>',
    "bucket": '<path d="M3 5.5 5.5 20c.3 1.2 3.200 2 6.500 2s6.200-.8 6.500-2L21 5.500"/>'
    '<ellipse cx="12" cy="5.500" rx="9" ry="3"/>',
    "queue": '<rect x="2" y="7" width="5" height="10" rx="1"/><rect x="9.500" y="7" width="5" height="10" rx="1"/>'
    '<path d="M17 12h5M19.500 9.500 22 12l-2.500 2.500"/>',
    "dead": '<rect x="2" y="6" width="14" height="12" rx="1.500"/><path d="m2 7 7 6 7-6M18.500 9v5M18.500 17.500v.1"/>',
    "topic": '<path d="M3 10v4h3l8 5V5L6 10z"/><path d="M17.500 9a4 4 0 0 1 0 6M20 6.500a8 8 0 0 1 0 11"/>',
    "database": '<ellipse cx="12" cy="5" rx="8" ry="3"/><path d="M4 5v14c0 1.700 3.600 3 8 3s8-1.300 8-3V5"/>'
    '<path d="M4 12c0 1.700 3.600 3 8 3s8-1.300 8-3"/>',
    "key": '<circle cx="7.500" cy="15.500" r="4.500"/><path d="m11 12 9-9M16 7l3.500 3.500M13.500 9.500 16 12"/>',
    "list": '<path d="M8 6h13M8 12h13M8 18h13M3.500 6h.1M3.500 12h.1M3.500 18h.1"/>',
    "images": '<rect x="3" y="3" width="18" height="18" rx="2"/><path d="M3 9h18M9 9v12"/>',
    "chart": '<path d="M3 3v18h18"/><path d="m6 15 4-5 4 3 6-8"/>',
    "clock": '<circle cx="12" cy="12" r="9.500"/><path d="M12 6v6l4 2.500"/>',
    "plug": '<path d="M9 2v6M15 2v6M6 8h12v3a6 6 0 0 1-12 0zM12 17v5"/>',
    "link": '<path d="M10 14a4 4 0 0 0 6 0l4-4a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-4 4a4 4 0 0 0 6 6l1-1"/>',
    "bell": '<path d="M6 16V10a6 6 0 0 1 12 0v6l2 2H4zM10 21h4"/>',
    "spin": '<path d="M20.500 12a8.500 8.500 0 1 1-2.500-6M18 2v4h-4"/>',
}
