"""Words for pseudonyms: nothing that would hurt to be called."""

_FIRST = """
Able Agile Alert Amber Ample Apt Aqua Arctic Azure Bold Brave Breezy Bright Brisk Bronze Calm Candid Careful Cedar
Cheerful Clear Clever Coral Cosmic Crimson Crisp Curious Daring Deft Diligent Eager Early Earnest Easy Elegant Fair
Fearless Fleet Frank Fresh Friendly Gentle Gifted Glad Golden Graceful Grand Happy Hardy Hazel Hearty Honest Humble
Indigo Ivory Jade Jolly Jovial Joyful Keen Kind Lilac Lively Loyal Lucid Lucky Lunar Maroon Mellow Merry Mighty Modest
Neat Nimble Noble Olive Opal Patient Pearly Placid Polite Proud Quick Quiet Rapid Ready Robust Rosy Royal Ruby Rustic
Sandy Scarlet Serene Sharp Silent Silver Sincere Smart Snowy Solar Solid Spry Steady Sunny Swift Teal Thoughtful Tidy
Tranquil Trusty Upbeat Valiant Velvet Violet Vivid Warm Wise Witty Zesty
"""
_SECOND = """
Albatross Alpaca Antelope Avocet Badger Beaver Bison Bittern Bluebird Bobcat Bunting Caribou Chamois
Cheetah Chickadee Cormorant Crane Cricket Curlew Deer Dolphin Dormouse Dove Dragonfly Duck Dunlin Eagle Egret Eider
Elk Ermine Falcon Ferret Finch Firefly Flamingo Fox Gannet Gazelle Gecko Giraffe Goldfinch Grebe Grouse
Hare Harrier Hawk Hedgehog Heron Hoopoe Ibex Ibis Iguana Impala Jackdaw Jaguar Jay Kestrel Kingfisher Kiwi Koala
Lapwing Lark Lemur Leopard Linnet Lion Lynx Magpie Manatee Marmot Marten Martin Merlin Moose Narwhal Newt
Nightjar Nuthatch Ocelot Okapi Oriole Osprey Otter Owl Panda Panther Partridge Pelican Penguin Petrel Pheasant Pipit
Plover Pony Puffin Quail Rabbit Raven Redstart Robin Sandpiper Seal Siskin Skylark Sparrow Squirrel Stork Swallow
Swan Tapir Tern Thrush Tiger Toucan Turtle Wagtail Warbler Wolf Woodcock Wren
Yak Zebra
"""

FIRST, SECOND = tuple(_FIRST.split()), tuple(_SECOND.split())
