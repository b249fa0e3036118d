# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page's style sheet: light and dark by the reader's setting, printable, no external asset."""
from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--bg:#f5f6f8;--card:#fff;--ink:#16191f;--soft:#5c6470;--faint:#8b93a0;--line:#e2e5ea;--track:#edeff3;
--vm:#2563c9;--vm-bg:#dbe7fb;--model:#7a3fc4;--model-bg:#eadffa;--other:#9aa2af;--other-bg:#e3e6eb;--free:#f4f5f7;
--good:#13794a;--good-bg:#d9f2e4;--warn:#935a00;--warn-bg:#fcebcb;--bad:#b3261e;--bad-bg:#fbdcda;--info-bg:#e3e6eb;--shadow:0 1px 2px #1018281a}
@media (prefers-color-scheme:dark){:root{--bg:#0e1116;--card:#161a21;--ink:#e8eaee;--soft:#a3abb8;--faint:#727b89;--line:#272d37;--track:#222832;
--vm:#7aaaf7;--vm-bg:#1c3157;--model:#b995f0;--model-bg:#382457;--other:#737c8a;--other-bg:#2b313b;--free:#1b2029;
--good:#5fd39a;--good-bg:#133524;--warn:#eebb60;--warn-bg:#3d2c0d;--bad:#f38a83;--bad-bg:#481a17;--info-bg:#2b313b;--shadow:none}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
font-variant-numeric:tabular-nums}
main{max-width:1180px;margin:0 auto;padding:36px 24px 64px}
header{display:flex;flex-wrap:wrap;gap:4px 24px;align-items:baseline;justify-content:space-between;margin-bottom:20px}
h1{font-size:27px;line-height:1.2;margin:0;letter-spacing:-.02em}
h2{font-size:17px;margin:40px 0 12px;letter-spacing:-.01em}
h2 small{font-weight:400;font-size:13px;color:var(--soft);margin-left:10px;letter-spacing:0}
h3{font-size:14px;margin:0}
p{margin:0 0 10px;color:var(--soft)}
.soft{color:var(--soft)}.faint{color:var(--faint)}.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:12px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(136px,1fr));gap:12px}
.tile,.card{background:var(--card);border:1px solid var(--line);border-radius:10px;box-shadow:var(--shadow)}
.tile{padding:14px 16px}.tile b{display:block;font-size:25px;line-height:1.25;letter-spacing:-.02em}.tile span{color:var(--soft);font-size:13px}
.tile.good b{color:var(--good)}.tile.bad b{color:var(--bad)}.tile.warn b{color:var(--warn)}
.card{padding:16px 18px;overflow-x:auto}.card+.card{margin-top:12px}
table{border-collapse:collapse;width:100%}th{font-weight:600;font-size:12px;color:var(--soft);text-align:left;white-space:nowrap}
th,td{padding:8px 14px 8px 0;border-bottom:1px solid var(--line);vertical-align:top}tr:last-child td{border-bottom:0}td:last-child,th:last-child{padding-right:0}
.mono{white-space:nowrap}td.num,th.num{text-align:right;white-space:nowrap}.nowrap{white-space:nowrap}td b{font-weight:600}
.pill{display:inline-block;border-radius:999px;padding:1px 9px;font-size:12px;font-weight:600;white-space:nowrap;background:var(--info-bg);color:var(--soft)}
.pill.good{background:var(--good-bg);color:var(--good)}.pill.warn{background:var(--warn-bg);color:var(--warn)}.pill.bad{background:var(--bad-bg);color:var(--bad)}
.pill.vm{background:var(--vm-bg);color:var(--vm)}.pill.model{background:var(--model-bg);color:var(--model)}
.map>.card{margin:0}.two{display:grid;grid-template-columns:1fr 1fr;gap:12px;margin-top:12px;align-items:start}.two>.card{margin:0}
.map{align-items:start;display:grid;grid-template-columns:repeat(auto-fill,minmax(520px,1fr));gap:12px}
@media (max-width:640px){.map{grid-template-columns:1fr}.pair,.two{grid-template-columns:1fr!important}main{padding:20px 14px 40px}}
.node header{margin:0 0 10px}.node .pair{display:grid;grid-template-columns:1fr 1fr;gap:18px}.node .side>span{font-size:11px;font-weight:600;color:var(--faint)}
.meter{display:grid;grid-template-columns:56px 1fr 44px;gap:8px;align-items:center;font-size:12px;color:var(--soft);margin:3px 0}
.meter i{display:block;height:6px;border-radius:3px;background:var(--track);overflow:hidden}.meter i b{display:block;height:100%;border-radius:3px;background:var(--other)}
.meter.after i b{background:var(--vm)}.meter span:last-child{text-align:right}
.gpu{margin-top:10px}.gpu .row{display:grid;grid-template-columns:44px 1fr;gap:8px;align-items:center;margin-top:3px}.gpu .row>span{font-size:11px;color:var(--faint)}
.gpu>span{display:block;font-size:12px;color:var(--soft);white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.slots{display:grid;gap:2px}
.slot{min-height:34px;border-radius:4px;padding:3px 4px;font-size:10.5px;line-height:1.25;overflow:hidden;background:var(--free);border:1px dashed var(--line);color:var(--faint)}
.slot b{display:block;font-weight:600;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}.slot span{display:block;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.slot.vm{background:var(--vm-bg);border:1px solid transparent;color:var(--vm)}.slot.model{background:var(--model-bg);border:1px solid transparent;color:var(--model)}
.slot.other{background:var(--other-bg);border:1px solid transparent;color:var(--soft)}
.chips{display:flex;flex-wrap:wrap;gap:4px;margin-top:8px}.chip{border-radius:5px;padding:1px 8px;font-size:12px;background:var(--other-bg);color:var(--soft);max-width:100%;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.chip.vm{background:var(--vm-bg);color:var(--vm);font-weight:600}.chip.model{background:var(--model-bg);color:var(--model);font-weight:600}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;font-size:12px;color:var(--soft);margin:10px 0 0}.legend i{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:6px}
.stack{display:flex;height:8px;border-radius:4px;overflow:hidden;background:var(--track);min-width:160px}.stack i{display:block}
svg{display:block;max-width:100%;height:auto}svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif;fill:var(--soft)}svg text.name{fill:var(--ink);font-weight:600}
svg text.in{fill:#fff;font-size:11px}@media (prefers-color-scheme:dark){svg text.in{fill:#0e1116}}
.p-copy{fill:var(--vm)}.p-down{fill:#d9822b}.p-check{fill:var(--good)}.p-prepare{fill:var(--other)}.p-back{fill:var(--bad)}.grid{stroke:var(--line)}.down{fill:none;stroke:#d9822b;stroke-width:1.5}
.b-copy{background:var(--vm)}.b-down{background:#d9822b}.b-check{background:var(--good)}.b-prepare{background:var(--other)}.b-back{background:var(--bad)}
.f-mapped{background:var(--good)}.f-changed{background:var(--vm)}.f-dropped{background:var(--other)}.f-unknown{background:var(--bad)}
.answer{border-left:3px solid var(--model);padding:2px 0 2px 14px;margin:0}.answer p{color:var(--ink);margin:2px 0}
details>summary{cursor:pointer;color:var(--soft);font-size:13px;margin-top:8px}footer.mono{white-space:normal}footer{margin-top:40px;color:var(--faint);font-size:12px;overflow-wrap:anywhere}
@media print{body{background:#fff}.card,.tile{break-inside:avoid;box-shadow:none}h2{break-after:avoid}}
"""
