"""How the page looks, and the little script that it can do without."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--page:#fff;--panel:#f6f7f9;--ink:#1b1f24;--minor:#57606a;--line:#d5dae0;--link:#0b5cad;
--leader:#0b4f8a;--on-leader:#fff;--follower:#bcd3e8;--candidate:#f0a92b;--candidate-hatch:#8a5a00;--unseen:#fff;
--unseen-line:#b5bcc4;--leaderless:#fbe3d6;--leaderless-hatch:#d5662b;--snapshot:#00745a;--transfer:#9a3d7c;
--good:#00745a;
--bad:#b03a00;--area:#cfe0f0;--target:#fff3c4;--problem:#b03a00;--warning:#8a5a00;--note:#0b5cad}
@media (prefers-color-scheme:dark){:root{--page:#14181d;--panel:#1c2229;--ink:#e6e9ed;--minor:#a3adb8;--line:#37404a;
--link:#79b8ff;--leader:#6cb6ff;--on-leader:#0b1117;--follower:#2c4a68;--candidate:#d9921a;--candidate-hatch:#fff0d0;
--unseen:#14181d;--unseen-line:#55606b;--leaderless:#3b2317;--leaderless-hatch:#c8662f;--snapshot:#3fc7a3;
--transfer:#e58fc8;--good:#3fc7a3;--bad:#ff8f57;--area:#22384f;--target:#4a4218;--problem:#ff8f57;--warning:#e8b04a;
--note:#79b8ff}}
@media print{:root{color-scheme:light;--page:#fff;--panel:#fff;--ink:#000;--minor:#333;--line:#bbb;--link:#000;
--leader:#17324d;--on-leader:#fff;--follower:#d3dde6;--candidate:#a9a9a9;--candidate-hatch:#000;--unseen:#fff;
--unseen-line:#888;--leaderless:#efefef;--leaderless-hatch:#666;--snapshot:#333;--transfer:#333;--good:#222;
--bad:#000;
--area:#ddd;--problem:#000;--warning:#000;--note:#000}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}.long{max-height:none!important}nav{display:none}
figure,.tile,.finding{break-inside:avoid}}
*{box-sizing:border-box}
html{scroll-padding-top:1rem}
body{margin:0 auto;padding:1.2rem 1.5rem 3rem;max-width:1280px;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}
h1{font-size:1.7rem;margin:.2rem 0 .3rem;line-height:1.2}
h2{font-size:1.25rem;margin:2.2rem 0 .6rem;padding-bottom:.25rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:1.4rem 0 .4rem}
p{margin:.3rem 0}
a{color:var(--link)}
.lead,p.note,figcaption p{color:var(--minor)}
p.note,figcaption p{font-size:.87rem}
nav{margin:.8rem 0;font-size:.9rem}
nav div{display:flex;gap:.2rem 1rem;margin-top:.35rem}nav div>a{font-weight:600;white-space:nowrap}
.clusters{list-style:none;margin:.6rem 0;padding:0}
h2.cluster{font-size:1.5rem;margin-top:3rem;border-bottom:3px solid var(--ink)}
nav ul{list-style:none;margin:0;padding:0;display:flex;flex-wrap:wrap;gap:.2rem 1rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.6rem;margin:1rem 0;padding:0;
list-style:none}
.tile{background:var(--panel);border:1px solid var(--line);border-radius:6px;padding:.5rem .8rem}
.tile b{display:block;font-size:1.35rem;line-height:1.25;font-weight:600}
.tile span{color:var(--minor);font-size:.85rem}
.findings{list-style:none;padding:0;margin:0;display:grid;gap:.6rem}
.finding{background:var(--panel);border:1px solid var(--line);border-left:5px solid var(--note);border-radius:5px;
padding:.6rem .9rem}
.finding.problem{border-left-color:var(--problem)}.finding.warning{border-left-color:var(--warning)}
.finding .severity{font-weight:700;font-size:.8rem;text-transform:uppercase;letter-spacing:.04em;margin-right:.6em;
color:var(--note)}
.finding.problem .severity{color:var(--problem)}.finding.warning .severity{color:var(--warning)}
.finding .advice{color:var(--minor)}
.evidence{font-size:.87rem;color:var(--minor)}
.evidence .frame{display:inline-block;margin-right:.9em}
figure{margin:0 0 1.2rem}
figcaption{margin-top:.5rem}
.scroll{overflow-x:auto}
.long{max-height:26rem;overflow-y:auto;border:1px solid var(--line);border-radius:5px}
.long thead th{position:sticky;top:0;background:var(--panel);box-shadow:0 1px var(--line)}
table{border-collapse:collapse;width:100%;font-size:.87rem;font-variant-numeric:tabular-nums}
th,td{padding:.28rem .6rem;text-align:left;vertical-align:top;font-weight:400;border-bottom:1px solid var(--line);
overflow-wrap:anywhere}
thead th{color:var(--minor);font-weight:600;overflow-wrap:normal}
tbody tr:hover{background:var(--panel)}
tbody tr:has(:target){background:var(--target)}
.number{text-align:right}.number,.time{white-space:nowrap}
.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:pre}
.frame{position:relative}
.copy{user-select:all;cursor:copy;text-decoration:underline dotted;text-underline-offset:3px}
.copied::after{content:" copied";color:var(--good)}
code{font:.92em ui-monospace,"DejaVu Sans Mono",monospace}
.definitions{position:absolute}
.legend{list-style:none;margin:.4rem 0;padding:0;display:flex;flex-wrap:wrap;gap:.25rem 1.2rem;font-size:.87rem}
.legend li{display:flex;align-items:center;gap:.45rem}
.drawing{display:block;width:100%;min-width:900px;height:auto;
font:12px system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}
svg text{fill:var(--ink)}
.tick,svg .minor{fill:var(--minor);font-size:11px}
svg .server{font-weight:600}
.grid{stroke:var(--line)}.base{stroke:var(--minor)}
.target,.lane-background{fill:transparent}
.lane-background{fill:var(--panel);fill-opacity:.55}
rect.unseen{fill:var(--unseen);stroke:var(--unseen-line);stroke-dasharray:3 3}
rect.seen{fill:var(--follower)}
rect.candidate{fill:var(--candidate)}.hatch{fill:url(#hatch-candidate)}
#hatch-candidate line{stroke:var(--candidate-hatch);stroke-width:2}
rect.leader{fill:var(--leader)}
.leaderless rect,rect.leaderless{fill:var(--leaderless)}
.leaderless rect.hatch{fill:url(#hatch-leaderless)}
#hatch-leaderless line{stroke:var(--leaderless-hatch);stroke-width:1.2;stroke-opacity:.55}
rect.snapshot{fill:var(--snapshot)}
.label{paint-order:stroke;stroke:var(--page);stroke-width:3px;stroke-opacity:.75;stroke-linejoin:round}
.on-leader{fill:var(--on-leader);stroke:none;font-weight:600}
.term{stroke:var(--ink);stroke-width:1}
.mark{fill:none;stroke:var(--ink);stroke-width:1.8;stroke-linejoin:round}
.mark.won{fill:var(--leader);stroke:var(--leader)}
.mark.lost{fill:var(--page);stroke:var(--bad)}.mark.pre-vote{stroke:var(--candidate-hatch)}
.mark.granted{stroke:var(--good)}.mark.refused,.mark.rejected,.mark.truncated,.mark.gap{stroke:var(--bad)}
.mark.transfer{fill:var(--transfer);stroke:none}
.mark.configuration,.mark.network{fill:var(--page)}
.crowd{fill:var(--page);stroke:var(--ink);stroke-width:1.2}
.crowd.lost,.crowd.refused,.crowd.rejected,.crowd.truncated,.crowd.gap{stroke:var(--bad)}
.crowd.granted{stroke:var(--good)}
.count{font-size:11px;font-weight:600}
.link{stroke:var(--transfer);stroke-width:1.5;stroke-dasharray:4 2}.link.snapshot{stroke:var(--snapshot)}
#arrow path{fill:context-stroke}
a:focus-visible{outline:2px solid var(--link);outline-offset:2px}
.lag-area{fill:var(--area)}.lag-line{fill:none;stroke:var(--leader);stroke-width:1.5}.lag-dot{fill:var(--leader)}
.range{stroke:var(--ink);stroke-width:1.5}.bar{fill:var(--leader)}
.lifeline{stroke:var(--line)}
.message line{stroke:var(--ink);stroke-width:1.3}.message .name{font-weight:600}
.message .time{fill:var(--minor);font-size:11px;font-variant-numeric:tabular-nums}
.message.quiet line{stroke:var(--unseen-line)}.message.quiet text{fill:var(--minor)}
.message.quiet .name{font-weight:400}
.message.together line{stroke-dasharray:2 4}
.message.refusal line{stroke:var(--bad);stroke-dasharray:6 3}
.message.refusal .name,.message.hole .name{fill:var(--bad)}
.message.requestvote line,.message.requestvoteresult line{stroke:var(--candidate-hatch)}
.message.installsnapshot line{stroke:var(--snapshot);stroke-width:2.4}
.message.timeoutnow line{stroke:var(--transfer);stroke-width:2.4}
.ladder a:hover .target,.ladder g.message:hover .target{fill:var(--panel)}
"""

SCRIPT = """
document.addEventListener("click",function(e){var t=e.target.closest&&e.target.closest(".copy");
if(!t||!navigator.clipboard)return;navigator.clipboard.writeText(t.textContent).then(function(){
t.classList.add("copied");setTimeout(function(){t.classList.remove("copied")},1200)},function(){})});
"""
