"""Real sentences for text models, written for this project: some calibrate, others judge."""

__all__ = ["CALIBRATION_SENTENCES", "EVALUATION_SENTENCES"]

CALIBRATION_SENTENCES = (
    "The ferry leaves at seven, unless the wind turns before then.",
    "Please water the tomatoes twice a week while we are away.",
    "A second opinion cost more than the repair itself.",
    "Nobody had told the new manager about the broken elevator.",
    "It rained for nine days, and on the tenth the river rose.",
    "The recipe asks for butter, but oil works almost as well.",
    "She signed the contract without reading the last page.",
    "Our train was late again, so we walked home along the canal.",
    "The museum keeps its oldest maps in a room without windows.",
    "He learned to swim at forty and has not missed a summer since.",
    "Three of the five batteries failed within the first month.",
    "What looked like snow turned out to be blossom from the cherry trees.",
    "The committee will meet on Thursday to discuss the new bridge.",
    "I have never tasted better bread than in that small village.",
    "The phone rang twice and then stopped.",
    "Turn left at the bakery, then follow the road up the hill.",
)
EVALUATION_SENTENCES = (
    "The concert was sold out within an hour of the announcement.",
    "My grandmother kept bees behind the house until she was ninety.",
    "The battery lasts two days if you switch the camera off.",
    "I would not recommend this hotel to anyone who wants to sleep.",
    "Prices fell for the third month in a row, the bank reported.",
    "The dog refuses to cross the street when the light is red.",
    "Their second album is quieter, stranger, and much better.",
    "Could you send me the photographs from the wedding?",
    "The experiment was repeated four times with the same result.",
    "We found the keys in the freezer, next to the peas.",
)
